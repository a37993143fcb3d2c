#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "base/files.h"
#include "buffers/journal.h"
#include "tests/buffers/group_cases.h"

namespace sluice::buffers {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
namespace fs = std::filesystem;

LedgerOptions options(bool exact_versions = true) {
  return {.prompts_per_step = 2,
          .total_steps = 8,
          .staleness = 2,
          .exact_versions = exact_versions,
          .lease_ms = 100,
          .max_attempts = 3,
          .refills = 2};
}

// A learner as far as ledger and journal go: each call is written before or right after it happens.
struct Learner {
  Learner(const LedgerOptions& opts, const fs::path& file) : ledger(opts), journal(file) {}
  Learner(Ledger recovered, const fs::path& file) : ledger(std::move(recovered)), journal(file) {}

  std::optional<uint64_t> issue() {
    const auto grant = ledger.lease("a", now);
    if (!grant) return std::nullopt;
    if (refill_of(grant->group) == 0) journal.issued(grant->group);
    return grant->group;
  }
  void receive(uint64_t group) {
    const auto oldest = std::max<int64_t>(0, step - 1);
    const auto made = small_group(group, oldest);
    journal.group(made);
    ledger.admit(group, made.oldest_version());
  }
  void end(uint64_t group, FateKind kind, const std::string& reason) {
    if (kind == FateKind::Dropped) {
      ledger.drop(group, reason);
    } else {
      ledger.quarantine(group, reason);
    }
    journal.fate(group, {kind, 0, reason});
  }
  bool compose() {
    const auto batch = ledger.batch(step);
    for (const uint64_t group : ledger.take_newly_dropped()) journal.fate(group, *ledger.fate(group));
    if (batch) journal.batch(step, *batch);
    composed = batch;
    return batch.has_value();
  }
  void train(const std::map<uint64_t, std::string>& poisoned = {}) {
    ledger.trained(step, *composed, poisoned);
    for (const auto& [group, reason] : poisoned) journal.fate(group, *ledger.fate(group));
    journal.trained(step);
    ledger.publish(++step);
  }

  Ledger ledger;
  Journal journal;
  Millis now = 0;
  int64_t step = 0;
  std::optional<std::vector<uint64_t>> composed;
};

std::vector<uint64_t> ids(const std::vector<RolloutGroup>& groups) {
  std::vector<uint64_t> out;
  for (const auto& group : groups) out.push_back(group.group);
  return out;
}

std::vector<uint64_t> issued(const Ledger& ledger) {
  std::vector<uint64_t> out;
  for (uint64_t slot = 0; slot < static_cast<uint64_t>(ledger.num_slots()); ++slot) {
    for (int64_t refill = 0; refill <= refill_of(ledger.current(slot)); ++refill) {
      out.push_back(group_id(slot, refill));
    }
  }
  return out;
}

std::vector<uint64_t> queued(const Ledger& ledger) {
  auto out = issued(ledger);
  std::erase_if(out, [&](uint64_t group) { return !ledger.is_queued(group); });
  return out;
}

void expect_equal(const Ledger& a, const Ledger& b) {
  EXPECT_EQ(describe(a.counts()), describe(b.counts()));
  EXPECT_EQ(queued(a), queued(b));
  EXPECT_EQ(a.reasons(), b.reasons());
  EXPECT_EQ(issued(a), issued(b));
  for (const uint64_t group : issued(a)) {
    const auto left = a.fate(group);
    const auto right = b.fate(group);
    ASSERT_EQ(left.has_value(), right.has_value()) << group;
    if (!left) continue;
    EXPECT_EQ(left->kind, right->kind) << group;
    EXPECT_EQ(left->step, right->step) << group;
    EXPECT_EQ(left->reason, right->reason) << group;
  }
}

// Steps 0 and 1 trained, step 2 composed, group 6 issued and not there, group 3 quarantined, group 7 queued.
void live_a_little(Learner& learner) {
  for (int i = 0; i < 6; ++i) learner.issue();
  for (const uint64_t group : {5u, 1u, 0u, 2u, 3u, 4u}) learner.receive(group);
  learner.end(3, FateKind::Quarantined, "unscored");
  for (int step = 0; step < 2; ++step) {
    learner.compose();
    learner.train();
  }
  learner.issue();
  learner.issue();
  learner.receive(7);
  learner.compose();
}

TEST(Recover, MakesANewJournalWhereThereIsNone) {
  const TempFolder folder;

  const auto recovered = recover(options(), folder / "groups", 0);

  EXPECT_EQ(recovered.ledger.counts().issued, 0);
  EXPECT_THAT(recovered.queued, IsEmpty());
  EXPECT_TRUE(fs::exists(folder / "groups"));
}

TEST(Recover, RebuildsTheLedgerAsItWas) {
  const TempFolder folder;
  Learner learner(options(), folder / "groups");
  live_a_little(learner);

  expect_equal(replay_ledger(options(), folder / "groups"), learner.ledger);
  auto recovered = recover(options(), folder / "groups", 2);

  expect_equal(recovered.ledger, learner.ledger);
  EXPECT_THAT(ids(recovered.queued), ElementsAre(4, 5, 7));
  EXPECT_EQ(encode_group(recovered.queued[0]), encode_group(small_group(4, 0)));
  recovered.ledger.publish(2);
  EXPECT_THAT(*recovered.ledger.batch(2), ElementsAre(4, 5));
  EXPECT_EQ(recovered.ledger.lease("b", 0)->group, 6u);  // issued before, under the same id
  EXPECT_EQ(recovered.ledger.lease("b", 0)->group, 8u);
}

TEST(Recover, QueuesAgainWhatTheCheckpointDoesNotHold) {
  const TempFolder folder;
  {
    Learner learner(options(), folder / "groups");
    live_a_little(learner);
  }

  auto recovered = recover(options(), folder / "groups", 1);

  EXPECT_EQ(describe(recovered.ledger.counts()),
            "issued 8 = trained 2 + queued 4 + leased 1 + dropped 0 + quarantined 1");
  EXPECT_THAT(ids(recovered.queued), ElementsAre(2, 4, 5, 7));
  EXPECT_EQ(recovered.ledger.fate(3)->kind, FateKind::Quarantined);
  EXPECT_THAT(*recovered.ledger.batch(1), ElementsAre(2));
  expect_equal(replay_ledger(options(), folder / "groups"),
               recovered.ledger);  // the rewind is in the journal
}

TEST(Recover, CountsABatchAsTrainedThatTheCheckpointHolds) {
  const TempFolder folder;
  {
    Learner learner(options(), folder / "groups");
    live_a_little(learner);  // the batch of step 2 is composed, and no more is known of it
  }

  const auto recovered = recover(options(), folder / "groups", 3);

  EXPECT_EQ(recovered.ledger.fate(4)->step, 2);
  EXPECT_THAT(ids(recovered.queued), ElementsAre(7));
  expect_equal(replay_ledger(options(), folder / "groups"), recovered.ledger);
  expect_equal(recover(options(), folder / "groups", 3).ledger, recovered.ledger);
}

TEST(Recover, WhatWasTrimmedAndIsWantedAgainIsOwedAgain) {
  const TempFolder folder;
  {
    Learner learner(options(), folder / "groups");
    live_a_little(learner);
    EXPECT_TRUE(learner.ledger.ended_before(2, 2));
    EXPECT_FALSE(learner.ledger.ended_before(2, 1));
    EXPECT_FALSE(learner.ledger.ended_before(4, 2));
    learner.journal.trim([](uint64_t) { return false; });  // as if no checkpoint were ever gone back to
    EXPECT_FALSE(fs::exists(folder / "groups.new"));
  }

  auto recovered = recover(options(), folder / "groups", 1);

  EXPECT_EQ(describe(recovered.ledger.counts()),
            "issued 8 = trained 2 + queued 0 + leased 5 + dropped 0 + quarantined 1");
  EXPECT_THAT(recovered.queued, IsEmpty());
  expect_equal(replay_ledger(options(), folder / "groups"), recovered.ledger);
  Learner again(std::move(recovered.ledger), folder / "groups");
  again.step = 1;
  again.ledger.publish(1);
  EXPECT_EQ(again.issue(), 2u);
  again.receive(2);
  const auto later = recover(options(), folder / "groups", 1);
  EXPECT_THAT(ids(later.queued), ElementsAre(2));
}

// Groups 0 to 9 issued, steps 0 to 2 trained; 4 is poisoned in step 2; 6 and 7 are queued, of version 2.
void live_with_poison(Learner& learner) {
  for (int i = 0; i < 6; ++i) learner.issue();
  for (const uint64_t group : {0u, 1u, 2u, 3u, 4u, 5u}) learner.receive(group);
  for (int step = 0; step < 3; ++step) {
    learner.compose();
    learner.train(step == 2 ? std::map<uint64_t, std::string>{{4, "poison"}}
                            : std::map<uint64_t, std::string>{});
  }
  for (int i = 0; i < 4; ++i) learner.issue();
  learner.receive(6);
  learner.receive(7);
}

TEST(Recover, APoisonedGroupOfAStepTakenBackIsQueuedAgain) {
  const TempFolder folder;
  {
    Learner learner(options(), folder / "groups");
    live_with_poison(learner);
    expect_equal(replay_ledger(options(), folder / "groups"), learner.ledger);
  }

  {
    const auto ledger = recover(options(), folder / "groups", 3).ledger;
    EXPECT_EQ(ledger.fate(4)->reason, "poison");
    EXPECT_TRUE(ledger.ended_before(4, 3));
    EXPECT_FALSE(ledger.ended_before(4, 2));
  }
  const auto recovered = recover(options(), folder / "groups", 2);

  EXPECT_FALSE(recovered.restored_to);
  EXPECT_THAT(ids(recovered.queued), ElementsAre(4, 5, 6, 7));
  expect_equal(replay_ledger(options(), folder / "groups"), recovered.ledger);
}

TEST(Recover, AfterARestoreThePoisonStaysOutAndLaterGroupsAreSampledAnew) {
  const TempFolder folder;
  {
    Learner learner(options(), folder / "groups");
    live_with_poison(learner);
    learner.journal.restore(1);
  }

  auto recovered = recover(options(), folder / "groups", 1);

  EXPECT_EQ(recovered.restored_to, 1);
  EXPECT_EQ(describe(recovered.ledger.counts()),
            "issued 10 = trained 2 + queued 3 + leased 4 + dropped 0 + quarantined 1");
  EXPECT_THAT(ids(recovered.queued), ElementsAre(2, 3, 5));
  Learner again(std::move(recovered.ledger), folder / "groups");
  again.step = 1;
  again.ledger.publish(1);
  EXPECT_EQ(again.issue(), 6u);
  again.receive(6);  // once more in the journal: of version 0 now
  const auto later = recover(options(), folder / "groups", 1);
  ASSERT_THAT(ids(later.queued), ElementsAre(2, 3, 5, 6));
  EXPECT_EQ(later.queued[3].oldest_version(), 0);
  EXPECT_EQ(later.restored_to, 1);
}

// Without exact versions a slot given up makes the next batch shorter, which is not the first one that is
// taken again.
TEST(Recover, ABatchIsTakenAgainAsItWasJournalled) {
  const TempFolder folder;
  {
    Learner learner(options(/*exact_versions=*/false), folder / "groups");
    for (int i = 0; i < 4; ++i) learner.issue();
    for (const uint64_t group : {1u, 2u}) learner.receive(group);
    learner.compose();
    learner.train();
    for (int64_t refill = 0; refill <= 2; ++refill) {
      learner.end(group_id(0, refill), FateKind::Dropped, kNoSpread);
      learner.issue();
    }
  }

  auto recovered = recover(options(/*exact_versions=*/false), folder / "groups", 0);

  EXPECT_THAT(*recovered.ledger.batch(0), ElementsAre(1, 2));
}

TEST(Recover, ABatchMadeUpForKeepsItsPoison) {
  const TempFolder folder;
  {
    Journal journal(folder / "groups");
    for (const uint64_t group : {0u, 1u}) {
      journal.issued(group);
      journal.group(small_group(group));
    }
    journal.batch(0, {0, 1});
    journal.fate(1, {FateKind::Quarantined, 0, "poison"});  // and its "trained" was lost
  }

  const auto recovered = recover(options(), folder / "groups", 1);

  EXPECT_EQ(recovered.ledger.fate(0)->kind, FateKind::Trained);
  EXPECT_EQ(recovered.ledger.fate(1)->kind, FateKind::Quarantined);
  expect_equal(recover(options(), folder / "groups", 1).ledger, recovered.ledger);
}

TEST(Recover, RefusesAJournalThatDoesNotReachTheCheckpoint) {
  const TempFolder folder;
  {
    Learner learner(options(), folder / "groups");
    live_a_little(learner);  // steps 0 and 1 are trained, the batch of step 2 is composed
  }
  const auto size = fs::file_size(folder / "groups");

  const auto shorter = message_of<DataError>([&] { recover(options(), folder / "groups", 4); });
  const auto deleted = message_of<DataError>([&] { recover(options(), folder / "another", 2); });

  EXPECT_THAT(shorter, HasSubstr("groups: the checkpoint is at step 4, but the journal knows of training up "
                                 "to step 3 only"));
  EXPECT_THAT(deleted, HasSubstr("another: the checkpoint is at step 2, but the journal knows of training up "
                                 "to step 0 only"));
  EXPECT_EQ(fs::file_size(folder / "groups"), size);  // nothing was recorded
}

TEST(Recover, RefusesAJournalWithAGap) {
  const TempFolder folder;
  {
    Journal journal(folder / "groups");
    for (const int64_t step : {0, 2}) {
      journal.batch(step, {});
      journal.trained(step);
    }
  }

  EXPECT_THAT(message_of<DataError>([&] { recover(options(), folder / "groups", 3); }),
              HasSubstr("the checkpoint is at step 3, but the journal knows of training up to step 1 only"));
}

TEST(Recover, CountsAnEmptyBatchAsTrainedToo) {
  const TempFolder folder;
  {
    Journal journal(folder / "groups");
    for (const uint64_t group : {0u, 1u}) {
      journal.issued(group);
      journal.fate(group, {FateKind::Quarantined, 0, "unscored"});
    }
    journal.batch(0, {});
  }

  EXPECT_EQ(recover(options(), folder / "groups", 1).ledger.trained_steps(), 1);
}

TEST(Recover, LeavesOutGroupsThatTheLedgerRefused) {
  const TempFolder folder;
  Learner learner(options(), folder / "groups");
  learner.receive(0);  // never issued
  learner.issue();
  learner.step = 3;
  learner.receive(0);
  learner.step = 7;
  learner.receive(0);  // twice

  const auto recovered = recover(options(), folder / "groups", 0);

  expect_equal(recovered.ledger, learner.ledger);
  ASSERT_THAT(ids(recovered.queued), ElementsAre(0));
  EXPECT_EQ(recovered.queued[0].oldest_version(), 2);
}

// Slot 0 is refilled twice and trained, slot 1 given up, slot 2 owed once more; nothing else says so.
TEST(Recover, RefillsAgainWhatHadNoSpread) {
  const TempFolder folder;
  Learner learner(options(), folder / "groups");
  const auto refill = [&](uint64_t slot, int64_t times) {
    for (int64_t i = 0; i < times; ++i) {
      learner.end(group_id(slot, i), FateKind::Dropped, kNoSpread);
      learner.issue();
    }
  };
  for (int i = 0; i < 6; ++i) learner.issue();
  refill(0, 2);
  learner.receive(group_id(0, 2));
  learner.receive(0);  // late
  refill(1, 3);
  learner.compose();
  learner.train();
  refill(2, 1);

  expect_equal(replay_ledger(options(), folder / "groups"), learner.ledger);
  auto recovered = recover(options(), folder / "groups", 0);

  EXPECT_EQ(describe(recovered.ledger.counts()),
            "issued 11 = trained 0 + queued 1 + leased 4 + dropped 6 + quarantined 0");
  EXPECT_THAT(ids(recovered.queued), ElementsAre(group_id(0, 2)));
  EXPECT_THAT(*recovered.ledger.batch(0), ElementsAre(group_id(0, 2)));
  EXPECT_EQ(recovered.ledger.refills(0, {}).given_up, 1);
  EXPECT_EQ(recovered.ledger.lease("b", 0)->group, group_id(2, 1));
  EXPECT_EQ(recovered.ledger.lease("b", 0)->group, 3u);
}

TEST(Recover, NamesTheRecordThatDoesNotFit) {
  const TempFolder folder;
  {
    Journal journal(folder / "groups");
    journal.issued(0);
    journal.trained(0);
  }

  const auto message = message_of<DataError>([&] { recover(options(), folder / "groups", 0); });

  EXPECT_THAT(message, HasSubstr("groups: record at byte 27: step 0 is trained, but the last batch is none"));
}

// A life of random events and crashes. `durable` is how far the file would have been synced; a crash loses
// what is behind it from any byte on.
void live_dangerously(uint64_t seed, bool exact_versions) {
  SCOPED_TRACE(seed);
  const TempFolder folder;
  const auto file = folder / "groups";
  const auto opts = options(exact_versions);
  std::mt19937_64 random(seed);
  const auto pick = [&](uint64_t n) { return static_cast<uint64_t>(random() % n); };

  std::optional<Learner> learner(std::in_place, opts, file);
  int64_t checkpoint = 0;
  uint64_t durable = fs::file_size(file);
  for (int event = 0; event < 4000 && learner->step < opts.total_steps; ++event) {
    learner->now += 5;
    const auto groups = issued(learner->ledger);
    switch (pick(12)) {
      case 0:
      case 1:
        learner->issue();
        break;
      case 2:
      case 3:
      case 4:
        if (!groups.empty()) learner->receive(groups[pick(groups.size())]);
        break;
      case 5:
        for (const uint64_t group : learner->ledger.expire(learner->now)) {
          learner->journal.fate(group, *learner->ledger.fate(group));
        }
        break;
      case 6:
        if (!groups.empty() && pick(8) == 0) {
          const uint64_t group = groups[pick(groups.size())];
          const char* reason = pick(3) == 0 ? "filtered" : kNoSpread;
          if (!learner->ledger.fate(group)) learner->end(group, FateKind::Dropped, reason);
        }
        break;
      case 7:
      case 8:
        if (learner->compose()) {
          durable = fs::file_size(file);
          std::map<uint64_t, std::string> poisoned;
          if (learner->composed->size() > 1 && pick(3) == 0) poisoned[learner->composed->front()] = "poison";
          learner->train(poisoned);
          if (!poisoned.empty()) durable = fs::file_size(file);
        }
        break;
      case 9:
        checkpoint = learner->step;  // without a sync: its last "trained" may be lost
        break;
      case 10:
        durable = fs::file_size(file);
        break;
      default: {
        if (pick(6) != 0) break;
        expect_equal(replay_ledger(opts, file), learner->ledger);
        learner.reset();
        fs::resize_file(file, durable + pick(fs::file_size(file) - durable + 1));
        auto recovered = recover(opts, file, checkpoint);
        ASSERT_TRUE(recovered.ledger.counts().holds());
        ASSERT_EQ(ids(recovered.queued), queued(recovered.ledger));
        for (const uint64_t group : issued(recovered.ledger)) {
          const auto fate = recovered.ledger.fate(group);
          if (fate && fate->kind == FateKind::Trained) {
            ASSERT_LT(fate->step, checkpoint);
          }
        }
        learner.emplace(std::move(recovered.ledger), file);
        learner->step = checkpoint;
        learner->ledger.publish(checkpoint);
        durable = fs::file_size(file);
      }
    }
    ASSERT_TRUE(learner->ledger.counts().holds());
  }
  EXPECT_EQ(learner->step, opts.total_steps);
  expect_equal(replay_ledger(opts, file), learner->ledger);
}

TEST(Recover, SurvivesCrashesAtAnyByteWithExactVersions) {
  for (uint64_t seed = 0; seed < 40 && !testing::Test::HasFailure(); ++seed) live_dangerously(seed, true);
}

TEST(Recover, SurvivesCrashesAtAnyByteByArrival) {
  for (uint64_t seed = 0; seed < 40 && !testing::Test::HasFailure(); ++seed) live_dangerously(seed, false);
}

}  // namespace
}  // namespace sluice::buffers
