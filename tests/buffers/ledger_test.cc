#include "buffers/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "base/error.h"
#include "tests/buffers/group_cases.h"

namespace sluice::buffers {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

LedgerOptions exact() {
  return {.prompts_per_step = 2, .total_steps = 5, .staleness = 1, .lease_ms = 100, .max_attempts = 3};
}

LedgerOptions by_arrival() {
  auto options = exact();
  options.exact_versions = false;
  return options;
}

std::vector<uint64_t> lease_all(Ledger& ledger, const std::string& actor = "a", Millis now = 0) {
  std::vector<uint64_t> groups;
  while (const auto grant = ledger.lease(actor, now)) groups.push_back(grant->group);
  return groups;
}

TEST(Ledger, LeasesInOrderWhatThePublishedVersionAllows) {
  Ledger ledger(exact());

  const auto first = *ledger.lease("a", 0);
  EXPECT_EQ(first.group, 0u);
  EXPECT_EQ(first.attempt, 0);
  EXPECT_EQ(first.version, 0);
  EXPECT_THAT(lease_all(ledger),
              ElementsAre(1, 2, 3));  // steps 0 and 1 need version 0, step 2 needs version 1
  ledger.publish(1);
  const auto fifth = *ledger.lease("a", 0);
  EXPECT_EQ(fifth.group, 4u);
  EXPECT_EQ(fifth.step, 2);
  EXPECT_EQ(fifth.version, 1);
  ledger.publish(5);
  EXPECT_THAT(lease_all(ledger), ElementsAre(5, 6, 7, 8, 9));  // and no further: 5 steps of 2
  EXPECT_TRUE(ledger.counts().holds());
}

TEST(Ledger, TellsWhichVersionIsStillNeeded) {
  Ledger ledger(exact());
  EXPECT_EQ(ledger.oldest_needed_version(), 0);
  lease_all(ledger);
  ledger.publish(2);
  lease_all(ledger);  // 0 .. 7
  for (uint64_t group = 0; group < 6; ++group) ledger.admit(group, 0);
  EXPECT_EQ(ledger.oldest_needed_version(), 2);  // group 6 is of step 3
  ledger.admit(7, 2);
  EXPECT_EQ(ledger.oldest_needed_version(), 2);
  ledger.admit(6, 2);
  EXPECT_EQ(ledger.oldest_needed_version(), 2);  // group 8 will name 3, but 2 is the newest there is
}

TEST(Ledger, BatchesByOrdinalWhateverTheOrderOfArrival) {
  Ledger ledger(exact());
  lease_all(ledger);
  ledger.admit(3, 0);
  ledger.admit(1, 0);
  EXPECT_EQ(ledger.batch(0), std::nullopt);  // group 0 is late and waited for
  ledger.admit(0, 0);

  EXPECT_THAT(*ledger.batch(0), ElementsAre(0, 1));
  EXPECT_EQ(ledger.batch(1), std::nullopt);
  EXPECT_EQ(ledger.batch(2), std::nullopt);  // not issued yet
  EXPECT_THROW(ledger.batch(5), Error);
}

TEST(Ledger, MakesAShorterBatchWhereAGroupWasQuarantined) {
  Ledger ledger(exact());
  lease_all(ledger);
  ledger.admit(0, 0);
  ledger.quarantine(0, "too few scored samples: 1 of 8");
  ledger.admit(1, 0);
  ledger.quarantine(2, "unscored");
  ledger.quarantine(3, "unscored");

  EXPECT_THAT(*ledger.batch(0), ElementsAre(1));
  EXPECT_THAT(*ledger.batch(1), IsEmpty());
  EXPECT_EQ(ledger.reasons(),
            (std::map<std::string, int64_t>{{"too few scored samples: 1 of 8", 1}, {"unscored", 2}}));
}

TEST(Ledger, TakesTheFirstResultOfAGroupAndCountsTheOthers) {
  Ledger ledger(exact());
  lease_all(ledger);

  EXPECT_EQ(ledger.admit(0, 0), Ledger::Admission::Accepted);
  EXPECT_EQ(ledger.admit(0, 0), Ledger::Admission::Duplicate);
  EXPECT_EQ(ledger.admit(99, 0), Ledger::Admission::Unknown);
  ledger.drop(1, "filtered");
  EXPECT_EQ(ledger.admit(1, 0), Ledger::Admission::Duplicate);
  EXPECT_EQ(ledger.duplicates(), 2);
  EXPECT_EQ(ledger.counts().queued, 1);
}

TEST(Ledger, LeasesAnExpiredGroupAgainUnderTheSameId) {
  Ledger ledger(exact());
  ledger.lease("a", 0);
  ledger.lease("b", 50);
  EXPECT_THAT(ledger.expire(99), IsEmpty());
  EXPECT_EQ(ledger.lease("c", 99)->group, 2u);
  EXPECT_THAT(ledger.expire(100), IsEmpty());
  EXPECT_EQ(ledger.counts().leased, 3);  // still owed

  const auto again = *ledger.lease("c", 100);
  EXPECT_EQ(again.group, 0u);
  EXPECT_EQ(again.attempt, 0);
  EXPECT_EQ(ledger.admit(0, 0), Ledger::Admission::Accepted);  // "a" was only slow
  EXPECT_EQ(ledger.admit(0, 0), Ledger::Admission::Duplicate);
}

TEST(Ledger, KnowsWhoHoldsHowMany) {
  Ledger ledger(exact());
  ledger.lease("a", 0);
  ledger.lease("a", 0);
  ledger.lease("b", 0);
  EXPECT_EQ(ledger.held_by("a"), 2);
  EXPECT_EQ(ledger.held_by("nobody"), 0);
  EXPECT_EQ(ledger.num_live(), 3);

  ledger.admit(0, 0);
  ledger.release_actor("b");
  EXPECT_EQ(ledger.held_by("a"), 1);
  EXPECT_EQ(ledger.held_by("b"), 0);
  EXPECT_EQ(ledger.num_live(), 1);
  EXPECT_EQ(ledger.counts().leased, 2);  // that of b is still owed
}

TEST(Ledger, KeepsTheLeasesOfAnActorThatReportsProgress) {
  Ledger ledger(exact());
  ledger.lease("a", 0);
  ledger.lease("b", 0);
  ledger.renew("a", 80);
  ledger.renew("nobody", 80);

  ledger.expire(100);
  EXPECT_EQ(ledger.lease("c", 100)->group, 1u);  // that of b
  ledger.expire(179);
  EXPECT_EQ(ledger.lease("c", 179)->group, 2u);
  ledger.expire(180);
  EXPECT_EQ(ledger.lease("c", 180)->group, 0u);
}

TEST(Ledger, QuarantinesAGroupAfterItsLastAttempt) {
  Ledger ledger(by_arrival());
  for (int attempt = 0; attempt < 3; ++attempt) {
    EXPECT_EQ(ledger.lease("a", attempt * 100)->attempt, attempt);
    EXPECT_EQ(ledger.expire((attempt + 1) * 100).size(), attempt == 2 ? 1u : 0u);
  }

  EXPECT_EQ(ledger.fate(0)->kind, FateKind::Quarantined);
  EXPECT_EQ(ledger.fate(0)->reason, "no result after 3 leases");
  EXPECT_EQ(ledger.lease("a", 300)->group, 1u);
}

TEST(Ledger, NoClockEndsAGroupWithExactVersions) {
  Ledger ledger(exact());
  for (int time = 0; time < 20; ++time) {
    EXPECT_EQ(ledger.lease("a", time * 100)->attempt, 0);
    EXPECT_THAT(ledger.expire((time + 1) * 100), IsEmpty());
    EXPECT_EQ(ledger.lease("b", (time + 1) * 100)->group, 0u);
    EXPECT_EQ(ledger.release_actor("b"), 1);  // silent
  }
  EXPECT_EQ(ledger.counts().leased, 1);
}

TEST(Ledger, ADeathCountsWithExactVersionsAlsoAfterASilence) {
  Ledger ledger(exact());
  ledger.lease("a", 0);
  EXPECT_EQ(ledger.release_actor("a"), 1);
  EXPECT_EQ(ledger.actor_died("a"), 0);
  EXPECT_EQ(ledger.actor_died("a"), 0);  // once
  EXPECT_EQ(ledger.lease("b", 0)->attempt, 1);
  EXPECT_THAT(ledger.expire(100), IsEmpty());
  EXPECT_EQ(ledger.actor_died("b"), 0);

  // Two are dead of it. A third is given up; while a fourth has it, its death ends nothing.
  EXPECT_EQ(ledger.lease("c", 100)->attempt, 2);
  EXPECT_EQ(ledger.release_actor("c"), 1);
  EXPECT_EQ(ledger.lease("d", 100)->attempt, 2);
  ledger.actor_died("c");
  EXPECT_THAT(ledger.expire(100), IsEmpty());
  EXPECT_EQ(ledger.actor_died("d"), 1);
  EXPECT_THAT(ledger.expire(100), ElementsAre(0));
  EXPECT_EQ(ledger.fate(0)->reason, "no result after 3 leases");
}

TEST(Ledger, ADeathAfterTheResultCountsForNothing) {
  Ledger ledger(exact());
  ledger.lease("a", 0);
  ledger.release_actor("a");
  ledger.admit(0, 0);

  EXPECT_EQ(ledger.actor_died("a"), 0);
  EXPECT_TRUE(ledger.is_queued(0));
}

TEST(Ledger, QuarantinesAPromptThatKillsEveryActor) {
  Ledger ledger(exact());
  for (const char* actor : {"a", "b", "c"}) {
    EXPECT_EQ(ledger.lease(actor, 0)->group, 0u);
    EXPECT_EQ(ledger.actor_died(actor), 1);
    ledger.renew(actor, 10);  // a late heartbeat of the dead brings nothing back
  }
  EXPECT_EQ(ledger.counts().leased, 1);

  EXPECT_THAT(ledger.expire(0), ElementsAre(0));
  EXPECT_EQ(ledger.counts().quarantined, 1);
  EXPECT_EQ(ledger.release_actor("a"), 0);
}

TEST(Ledger, TrainsAGroupOnce) {
  Ledger ledger(exact());
  lease_all(ledger);
  for (uint64_t group = 0; group < 4; ++group) ledger.admit(group, 0);
  ledger.trained(0, {0, 1});

  EXPECT_EQ(ledger.fate(1)->kind, FateKind::Trained);
  EXPECT_EQ(ledger.fate(1)->step, 0);
  EXPECT_THAT(message_of<Error>([&] {
                ledger.trained(1, {2, 1});
              }),
              HasSubstr("group 1 is to be trained, but was trained at step 0"));
  EXPECT_THROW(ledger.trained(0, {2, 3}), Error);
  EXPECT_THROW(ledger.trained(1, {2, 2}), Error);
  EXPECT_THROW(ledger.trained(2, {2, 3}), Error);  // they are of step 1
  EXPECT_THROW(ledger.batch(0), Error);
  EXPECT_THROW(ledger.drop(1, "late"), Error);
  EXPECT_EQ(ledger.counts().queued, 2);  // what threw changed nothing
  ledger.trained(1, {2, 3});
  EXPECT_EQ(describe(ledger.counts()),
            "issued 4 = trained 4 + queued 0 + leased 0 + dropped 0 + quarantined 0");
}

TEST(Ledger, RefusesEndsThatMakeNoSense) {
  Ledger ledger(exact());
  ledger.lease("a", 0);

  EXPECT_THROW(ledger.drop(7, "filtered"), Error);
  EXPECT_THROW(ledger.drop(0, ""), Error);
  EXPECT_THROW(ledger.quarantine(0, ""), Error);
  EXPECT_THROW(ledger.trained(0, {0}), Error);  // has not arrived
  EXPECT_THROW(ledger.publish(-1), Error);
  ledger.publish(3);
  EXPECT_THROW(ledger.publish(2), Error);
  EXPECT_EQ(ledger.fate(0), std::nullopt);
  EXPECT_EQ(ledger.fate(7), std::nullopt);
  EXPECT_EQ(ledger.counts().leased, 1);
}

TEST(Ledger, RefusesOptionsThatMakeNoSense) {
  for (const auto& wrong : {LedgerOptions{.prompts_per_step = 0, .total_steps = 1},
                            LedgerOptions{.prompts_per_step = 4, .total_steps = int64_t{1} << 62},
                            LedgerOptions{.prompts_per_step = 1, .total_steps = 1, .staleness = -1},
                            LedgerOptions{.prompts_per_step = 1, .total_steps = 1, .lease_ms = 0},
                            LedgerOptions{.prompts_per_step = 1, .total_steps = 1, .max_attempts = 0}}) {
    EXPECT_THROW(Ledger{wrong}, Error);
  }
}

TEST(Ledger, BatchesByArrivalWithoutExactVersions) {
  Ledger ledger(by_arrival());
  lease_all(ledger);
  ledger.admit(3, 0);
  EXPECT_EQ(ledger.batch(0), std::nullopt);
  ledger.admit(0, 0);
  ledger.admit(2, 0);

  EXPECT_THAT(*ledger.batch(0), ElementsAre(3, 0));
  EXPECT_THAT(*ledger.batch(0), ElementsAre(3, 0));  // asking changes nothing
  ledger.trained(0, {3, 0});
  EXPECT_EQ(ledger.counts().queued, 1);
}

TEST(Ledger, ForeseesTheNextBatchWhileTheOneBeforeIsTrained) {
  Ledger ledger(by_arrival());
  lease_all(ledger);  // 0 .. 3
  ledger.publish(3);
  for (const uint64_t group : {3, 0, 1}) ledger.admit(group, /*oldest_version=*/group == 1 ? 0 : 2);
  EXPECT_EQ(ledger.next_batch(2, /*in_training=*/{3, 0}), std::nullopt);
  ledger.admit(2, 2);

  EXPECT_EQ(ledger.next_batch(2, {3, 0}), std::nullopt);  // 1 is too old for it
  lease_all(ledger);
  ledger.admit(4, 2);
  EXPECT_THAT(*ledger.next_batch(2, {3, 0}), ElementsAre(2, 4));
  EXPECT_EQ(ledger.counts().queued, 5);  // and nothing is dropped
  EXPECT_THAT(ledger.take_newly_dropped(), IsEmpty());

  Ledger by_ordinal(exact());
  lease_all(by_ordinal);
  for (const uint64_t group : {3, 1, 0}) by_ordinal.admit(group, 0);
  EXPECT_EQ(by_ordinal.next_batch(1, {0, 1}), std::nullopt);
  by_ordinal.admit(2, 0);
  EXPECT_THAT(*by_ordinal.next_batch(1, {0, 1}), ElementsAre(2, 3));
}

TEST(Ledger, DropsWhatIsStaleAndIssuesMoreInItsPlace) {
  Ledger ledger(by_arrival());
  lease_all(ledger);  // 0 .. 3
  ledger.publish(3);
  ledger.admit(1, 0);
  ledger.admit(0, 2);

  EXPECT_EQ(ledger.batch(3), std::nullopt);
  EXPECT_THAT(ledger.take_newly_dropped(), ElementsAre(1));
  EXPECT_THAT(ledger.take_newly_dropped(), IsEmpty());
  EXPECT_EQ(ledger.fate(1)->reason, "stale");
  EXPECT_EQ(ledger.reasons().at("stale"), 1);
  const auto rest = lease_all(ledger);
  EXPECT_EQ(rest.back(), 10u);  // 5 steps of 2 and one more for the dropped one
}

TEST(Ledger, AsksForRecentVersionsWhenALeaseIsGivenAgain) {
  Ledger ledger(by_arrival());
  ledger.lease("a", 0);
  ledger.publish(3);
  ledger.expire(100);

  const auto again = *ledger.lease("b", 100);
  EXPECT_EQ(again.group, 0u);
  EXPECT_EQ(again.step, 3);
  EXPECT_EQ(again.version, 2);  // an older one would be stale when it is trained
}

TEST(Ledger, QueuesAgainWhatIsRewound) {
  Ledger ledger(exact());
  lease_all(ledger);
  ledger.publish(2);
  lease_all(ledger);
  for (uint64_t group = 8; group-- > 0;) ledger.admit(group, 0);
  for (int64_t step = 0; step < 3; ++step) ledger.trained(step, *ledger.batch(step));

  ledger.rewind(1);

  EXPECT_EQ(ledger.counts().trained, 2);
  EXPECT_EQ(ledger.counts().queued, 6);
  EXPECT_EQ(ledger.lease("a", 0), std::nullopt);  // version 2 is gone with the steps that made it
  EXPECT_THAT(*ledger.batch(1), ElementsAre(2, 3));
  ledger.trained(1, {2, 3});
  ledger.trained(2, {4, 5});
  ledger.publish(3);
  EXPECT_EQ(ledger.lease("a", 0)->group, 8u);
}

TEST(Ledger, RewindsToTheSameOrderOfArrival) {
  Ledger ledger(by_arrival());
  lease_all(ledger);
  for (const uint64_t group : {2u, 0u, 3u, 1u}) ledger.admit(group, 0);
  ledger.trained(0, *ledger.batch(0));

  ledger.rewind(0);

  EXPECT_THAT(*ledger.batch(0), ElementsAre(2, 0));
}

TEST(Ledger, QuarantinesAPoisonedGroupInsteadOfTrainingIt) {
  Ledger ledger(by_arrival());
  for (const uint64_t group : lease_all(ledger)) ledger.admit(group, 0);

  ledger.trained(0, {0, 1}, {{1, "a loss that is not finite"}});

  EXPECT_EQ(describe(ledger.counts()),
            "issued 4 = trained 1 + queued 2 + leased 0 + dropped 0 + quarantined 1");
  EXPECT_EQ(ledger.fate(1)->reason, "a loss that is not finite");
  EXPECT_EQ(ledger.trained_steps(), 1);
  ledger.publish(1);
  const auto next = *ledger.lease("a", 0);
  EXPECT_EQ(next.group, 4u);
  EXPECT_EQ(next.step, 2);  // it was in its batch: nobody moves up for it
  EXPECT_THROW(ledger.trained(1, {2, 3}, {{4, "not in the batch"}}), Error);
  EXPECT_THROW(ledger.trained(1, {2, 3}, {{3, ""}}), Error);
  EXPECT_TRUE(ledger.is_queued(2));
}

TEST(Ledger, ARewindTakesAPoisonedGroupBackAndARestoreDoesNot) {
  for (const bool restores : {false, true}) {
    Ledger ledger(exact());
    for (const uint64_t group : lease_all(ledger)) ledger.admit(group, 0);
    ledger.trained(0, {0, 1}, {{0, "poison"}});
    ledger.publish(1);
    ledger.trained(1, {2, 3}, {{3, "poison"}});

    restores ? ledger.restore(1) : ledger.rewind(1);

    EXPECT_EQ(ledger.fate(0)->kind, FateKind::Quarantined);  // of a step that stays
    EXPECT_EQ(ledger.is_queued(3), !restores);
    EXPECT_EQ(ledger.reasons(), (std::map<std::string, int64_t>{{"poison", restores ? 2 : 1}}));
    EXPECT_TRUE(ledger.counts().holds());
    EXPECT_EQ(ledger.batch(1)->size(), restores ? 1u : 2u);
  }
}

TEST(Ledger, ARestoreOwesAgainWhatWasSampledFromWeightsThatAreGone) {
  Ledger ledger(exact());
  for (const uint64_t group : lease_all(ledger)) ledger.admit(group, 0);
  for (int64_t step = 0; step < 2; ++step) {
    ledger.trained(step, *ledger.batch(step));
    ledger.publish(step + 1);
    for (const uint64_t group : lease_all(ledger)) ledger.admit(group, step + 1);  // of steps 2 and 3
  }

  ledger.restore(1);

  EXPECT_EQ(describe(ledger.counts()),
            "issued 8 = trained 2 + queued 4 + leased 2 + dropped 0 + quarantined 0");
  EXPECT_TRUE(ledger.is_queued(4));  // of version 1, which is the one gone back to
  ledger.trained(1, *ledger.batch(1));
  ledger.publish(2);
  EXPECT_EQ(ledger.lease("a", 0)->group, 6u);  // of version 2, which is another now
}

TEST(Ledger, RestoresIssuedGroupsInOrder) {
  Ledger ledger(exact());
  ledger.restore_issued(0);
  ledger.restore_issued(1);
  ledger.restore_issued(0);  // known
  EXPECT_THROW(ledger.restore_issued(3), DataError);
  EXPECT_EQ(ledger.counts().leased, 2);

  EXPECT_EQ(ledger.admit(1, 0), Ledger::Admission::Accepted);
  EXPECT_EQ(ledger.lease("a", 0)->group, 0u);
  EXPECT_EQ(ledger.lease("a", 0)->group, 2u);
}

// Everything that may happen, in any order, many times.
class Storm {
 public:
  Storm(uint64_t seed, bool exact_versions)
      : random_(seed),
        ledger_({.prompts_per_step = 3,
                 .total_steps = 8,
                 .staleness = static_cast<int64_t>(seed % 3),
                 .exact_versions = exact_versions,
                 .lease_ms = 50,
                 .max_attempts = 3,
                 .refills = static_cast<int64_t>(seed % 4)}) {}

  void run() {
    for (int event = 0; event < 600; ++event) {
      act(pick(20));
      check();
    }
    settle();
    const auto counts = ledger_.counts();
    EXPECT_EQ(counts.leased + counts.queued, 0) << describe(counts);
    if (!ledger_.options().exact_versions) {
      EXPECT_EQ(counts.trained + given_up_, 24);
    }
  }

 private:
  int64_t pick(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(random_); }
  std::string actor() { return std::string(1, static_cast<char>('a' + pick(3))); }
  uint64_t any_group() {
    const auto slot = static_cast<uint64_t>(pick(ledger_.num_slots() + 2));
    return pick(4) == 0 ? group_id(slot, pick(4)) : ledger_.current(slot);
  }

  void act(int64_t what) {
    now_ += pick(8);
    if (what < 6) lease();
    if (what >= 6 && what < 12) admit(any_group());
    if (what == 12) ledger_.expire(now_);
    if (what == 13) ledger_.renew(actor(), now_);
    if (what == 14) pick(2) == 0 ? ledger_.release_actor(actor()) : ledger_.actor_died(actor());
    if (what == 15 && pick(2) == 0) end(any_group());
    if (what >= 16 && what < 19) train();
    if (what == 19 && pick(6) == 0) rewind();
  }

  void lease() {
    const auto grant = ledger_.lease(actor(), now_);
    if (!grant) return;
    EXPECT_EQ(ledger_.fate(grant->group), std::nullopt);
    EXPECT_LE(grant->version, step_);
    EXPECT_LE(grant->attempt, 2);
    versions_[grant->group] = grant->version;
    EXPECT_GE(grant->version, ledger_.oldest_needed_version());
    if (ledger_.options().exact_versions) {
      EXPECT_EQ(grant->step, static_cast<int64_t>(slot_of(grant->group)) / 3);
      EXPECT_EQ(grant->version, std::max<int64_t>(0, grant->step - ledger_.options().staleness));
    }
  }

  void admit(uint64_t group) {
    const bool known = slot_of(group) < static_cast<uint64_t>(ledger_.num_slots()) &&
                       group <= ledger_.current(slot_of(group));
    const bool fresh = known && !ledger_.is_queued(group) && !ledger_.fate(group);
    const auto expected = !known  ? Ledger::Admission::Unknown
                          : fresh ? Ledger::Admission::Accepted
                                  : Ledger::Admission::Duplicate;
    EXPECT_EQ(ledger_.admit(group, versions_[group]), expected);
  }

  void end(uint64_t group) {
    if (!ledger_.was_issued(group) || ledger_.fate(group)) return;
    switch (pick(4)) {
      case 0:
        return ledger_.drop(group, "filtered");
      case 1:
        return ledger_.quarantine(group, "unscored");
      default:
        if (refill_of(group) == ledger_.options().refills) ++given_up_;
        ledger_.drop(group, kNoSpread);
        EXPECT_EQ(ledger_.fate(group)->reason, "no spread");
        versions_[ledger_.current(slot_of(group))] =
            ledger_.version_for(group);  // it may come before a lease
    }
  }

  void train() {
    if (step_ == ledger_.options().total_steps) return;
    const auto batch = ledger_.batch(step_);
    for (const uint64_t group : ledger_.take_newly_dropped()) EXPECT_EQ(ledger_.fate(group)->reason, "stale");
    if (!batch) return;
    for (const uint64_t group : *batch) {
      EXPECT_TRUE(ledger_.is_queued(group));
      EXPECT_GE(versions_[group], step_ - ledger_.options().staleness);
    }
    ledger_.trained(step_, *batch);
    history_[step_] = *batch;
    ledger_.publish(++step_);
  }

  void rewind() {
    step_ = pick(step_ + 1);
    ledger_.rewind(step_);
    history_.erase(history_.lower_bound(step_), history_.end());
  }

  std::vector<uint64_t> issued() const {
    std::vector<uint64_t> groups;
    for (uint64_t slot = 0; slot < static_cast<uint64_t>(ledger_.num_slots()); ++slot) {
      for (int64_t refill = 0; refill <= refill_of(ledger_.current(slot)); ++refill) {
        groups.push_back(group_id(slot, refill));
      }
    }
    return groups;
  }

  // The law from the outside, and the surviving history.
  void check() {
    const auto counts = ledger_.counts();
    ASSERT_TRUE(counts.holds()) << describe(counts);
    LedgerCounts seen;
    for (const uint64_t group : issued()) {
      ++seen.issued;
      const auto fate = ledger_.fate(group);
      if (!fate) {
        ++(ledger_.is_queued(group) ? seen.queued : seen.leased);
      } else {
        EXPECT_FALSE(ledger_.is_queued(group));
        ++(fate->kind == FateKind::Trained   ? seen.trained
           : fate->kind == FateKind::Dropped ? seen.dropped
                                             : seen.quarantined);
      }
    }
    ASSERT_EQ(describe(seen), describe(counts));
    std::set<uint64_t> trained;
    for (const auto& [step, groups] : history_) {
      for (const uint64_t group : groups) {
        ASSERT_TRUE(trained.insert(group).second) << "group " << group << " twice";
        ASSERT_EQ(ledger_.fate(group)->step, step);
      }
    }
    ASSERT_EQ(static_cast<int64_t>(trained.size()), counts.trained);
    int64_t reasons = 0;
    for (const auto& [reason, count] : ledger_.reasons()) reasons += count;
    ASSERT_EQ(reasons, counts.dropped + counts.quarantined);
  }

  // No more faults: the run must come to its end.
  void settle() {
    for (int round = 0; round < 200 && step_ < ledger_.options().total_steps; ++round) {
      for (const uint64_t group : lease_all(ledger_, "z", now_)) versions_[group] = step_;
      for (const uint64_t group : issued()) {
        if (!ledger_.is_queued(group) && !ledger_.fate(group)) admit(group);
      }
      train();
      check();
    }
    EXPECT_EQ(step_, ledger_.options().total_steps);
  }

  std::mt19937_64 random_;
  Ledger ledger_;
  Millis now_ = 0;
  int64_t step_ = 0;
  int64_t given_up_ = 0;  // slots
  std::map<uint64_t, int64_t> versions_;
  std::map<int64_t, std::vector<uint64_t>> history_;
};

TEST(Ledger, KeepsTheLawInAnyOrderOfEventsWithExactVersions) {
  for (uint64_t seed = 0; seed < 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Storm(seed, true).run();
  }
}

TEST(Ledger, KeepsTheLawInAnyOrderOfEventsByArrival) {
  for (uint64_t seed = 0; seed < 300 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    Storm(seed, false).run();
  }
}

// Same ordinals, any actors, any order of arrival, some leases lost: the same batches.
TEST(Ledger, MakesTheSameBatchesWhoeverDeliversWhen) {
  std::set<std::vector<std::vector<uint64_t>>> histories;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 random(seed);
    auto options = exact();
    options.max_attempts = 1000;
    options.refills = 2;
    Ledger ledger(options);
    std::vector<std::vector<uint64_t>> history;
    std::vector<uint64_t> working;
    for (Millis now = 0; std::ssize(history) < options.total_steps; now += 40) {
      while (const auto grant = ledger.lease(random() % 2 == 0 ? "a" : "b", now))
        working.push_back(grant->group);
      std::shuffle(working.begin(), working.end(), random);
      if (random() % 4 == 0) ledger.release_actor("a");
      ledger.expire(now);
      if (!working.empty()) {
        const uint64_t group = working.back();
        const bool open = !ledger.is_queued(group) && !ledger.fate(group);
        if (open && group % 3 == 0) {  // as its content says
          ledger.drop(group, kNoSpread);
        } else {
          ledger.admit(group, 0);
        }
        working.pop_back();
      }
      if (const auto batch = ledger.batch(std::ssize(history))) {
        ledger.trained(std::ssize(history), *batch);
        history.push_back(*batch);
        ledger.publish(std::ssize(history));
      }
    }
    histories.insert(history);
  }
  EXPECT_EQ(histories.size(), 1u);
}

TEST(Ledger, StaysQuickWithAHundredThousandGroups) {
  constexpr int64_t kSteps = 12'500;
  Ledger ledger({.prompts_per_step = 8, .total_steps = kSteps, .staleness = kSteps});
  lease_all(ledger);
  EXPECT_EQ(ledger.counts().leased, 100'000);
  for (int64_t step = 0; step < kSteps; ++step) {
    for (uint64_t i = 0; i < 8; ++i) ledger.admit(static_cast<uint64_t>(step) * 8 + 7 - i, 0);
    ledger.expire(step % 1000);
    ledger.trained(step, *ledger.batch(step));
    ledger.publish(step + 1);
    EXPECT_TRUE(ledger.counts().holds());
    EXPECT_EQ(ledger.oldest_needed_version(), 0);
  }
  EXPECT_EQ(ledger.counts().trained, 100'000);
}

}  // namespace
}  // namespace sluice::buffers
