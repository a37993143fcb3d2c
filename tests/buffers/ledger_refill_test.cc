// A group from which nothing can be learned: another prompt takes its place, for so long.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "buffers/ledger.h"
#include "tests/base/temp_folder.h"

namespace sluice::buffers {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kFirst = uint64_t{1} << 40;  // the first refill of slot 0
constexpr uint64_t kSecond = uint64_t{2} << 40;

LedgerOptions options(bool exact_versions = true) {
  return {.prompts_per_step = 2,
          .total_steps = 5,
          .staleness = 1,
          .exact_versions = exact_versions,
          .lease_ms = 100,
          .max_attempts = 3,
          .refills = 2};
}

std::vector<uint64_t> lease_all(Ledger& ledger, const std::string& actor = "a") {
  std::vector<uint64_t> groups;
  while (const auto grant = ledger.lease(actor, 0)) groups.push_back(grant->group);
  return groups;
}

TEST(GroupId, HoldsTheSlotAndTheRefill) {
  EXPECT_EQ(group_id(7, 0), 7u);
  EXPECT_EQ(group_id(0, 1), kFirst);
  const uint64_t id = group_id(123'456'789, kMaxRefills);
  EXPECT_EQ(slot_of(id), 123'456'789u);
  EXPECT_EQ(refill_of(id), 1000);
  EXPECT_LT(id, uint64_t{1} << 53);
  EXPECT_EQ(group_name(7), "7");
  EXPECT_EQ(group_name(group_id(7, 2)), "7 (refill 2)");
}

TEST(LedgerRefill, AnotherGroupIsOwedForTheSameStepAndVersion) {
  Ledger ledger(options());
  EXPECT_THAT(lease_all(ledger), ElementsAre(0, 1, 2, 3));
  ledger.drop(1, kNoSpread);

  EXPECT_EQ(describe(ledger.counts()),
            "issued 5 = trained 0 + queued 0 + leased 4 + dropped 1 + quarantined 0");
  EXPECT_EQ(ledger.num_slots(), 4);
  EXPECT_EQ(ledger.fate(1)->kind, FateKind::Dropped);
  EXPECT_EQ(ledger.fate(1)->reason, "no spread");
  EXPECT_EQ(ledger.current(1), kFirst + 1);
  EXPECT_EQ(ledger.fate(kFirst + 1), std::nullopt);
  ledger.publish(2);
  EXPECT_EQ(ledger.oldest_needed_version(), 0);  // that of step 0, while its slot is open

  const auto grant = *ledger.lease("b", 0);  // before groups 4 .. 7, whose version is there too
  EXPECT_EQ(grant.group, kFirst + 1);
  EXPECT_EQ(grant.attempt, 0);
  EXPECT_EQ(grant.step, 0);
  EXPECT_EQ(grant.version, 0);
  EXPECT_EQ(ledger.lease("b", 0)->group, 4u);
}

TEST(LedgerRefill, ForeseesAWholeBatchBehindAShortOne) {
  auto without = options(/*exact_versions=*/false);
  without.refills = 0;
  Ledger ledger(without);
  lease_all(ledger);  // 0 .. 3
  ledger.drop(0, kNoSpread);
  ledger.admit(1, 0);
  EXPECT_THAT(*ledger.batch(0), ElementsAre(1));

  ledger.admit(2, 0);
  EXPECT_EQ(ledger.next_batch(1, /*in_training=*/{1}), std::nullopt);
  ledger.admit(3, 0);
  EXPECT_THAT(*ledger.next_batch(1, {1}), ElementsAre(2, 3));
  ledger.trained(0, {1});
  EXPECT_THAT(*ledger.batch(1), ElementsAre(2, 3));
}

TEST(LedgerRefill, BatchesGoBySlotWithTheGroupThatWasKept) {
  Ledger ledger(options());
  lease_all(ledger);
  ledger.admit(1, 0);
  ledger.drop(0, kNoSpread);
  EXPECT_EQ(ledger.batch(0), std::nullopt);
  lease_all(ledger);
  ledger.drop(kFirst, kNoSpread);
  EXPECT_EQ(ledger.batch(0), std::nullopt);
  lease_all(ledger);
  EXPECT_EQ(ledger.admit(kSecond, 0), Ledger::Admission::Accepted);

  EXPECT_TRUE(ledger.is_queued(kSecond));
  EXPECT_FALSE(ledger.is_queued(0));
  EXPECT_THAT(*ledger.batch(0), ElementsAre(kSecond, 1));
  EXPECT_EQ(ledger.refills(0, {kSecond, 1}).refills, 2);
  EXPECT_EQ(ledger.refills(0, {kSecond, 1}).given_up, 0);
  ledger.trained(0, {kSecond, 1});
  EXPECT_EQ(ledger.fate(kSecond)->kind, FateKind::Trained);
  EXPECT_EQ(describe(ledger.counts()),
            "issued 6 = trained 2 + queued 0 + leased 2 + dropped 2 + quarantined 0");
  EXPECT_EQ(ledger.reasons(), (std::map<std::string, int64_t>{{"no spread", 2}}));
}

TEST(LedgerRefill, ASlotIsGivenUpAfterItsLastRefill) {
  Ledger ledger(options());
  lease_all(ledger);
  ledger.admit(1, 0);
  for (const uint64_t group : {uint64_t{0}, kFirst, kSecond}) {
    ledger.drop(group, kNoSpread);
    lease_all(ledger);
  }

  EXPECT_THAT(*ledger.batch(0), ElementsAre(1));
  EXPECT_EQ(ledger.refills(0, {1}).refills, 2);
  EXPECT_EQ(ledger.refills(0, {1}).given_up, 1);
  EXPECT_EQ(ledger.fate(kSecond)->reason, "no spread");
  EXPECT_EQ(ledger.reasons().at("no spread"), 3);
  EXPECT_THAT(message_of<Error>([&] { ledger.drop(kSecond, kNoSpread); }),
              HasSubstr("group 0 (refill 2) is to be dropped, but was dropped: no spread"));
  EXPECT_EQ(ledger.current(0), kSecond);
}

TEST(LedgerRefill, WithoutRefillsTheSlotIsGivenUpAtOnce) {
  auto none = options();
  none.refills = 0;
  Ledger ledger(none);
  lease_all(ledger);
  ledger.drop(0, kNoSpread);

  EXPECT_EQ(ledger.counts().issued, 4);
  EXPECT_EQ(ledger.lease("a", 0), std::nullopt);
}

TEST(LedgerRefill, AnOldRefillThatComesLateIsADuplicate) {
  Ledger ledger(options());
  lease_all(ledger);
  ledger.drop(0, kNoSpread);
  EXPECT_EQ(ledger.admit(0, 0), Ledger::Admission::Duplicate);  // its slot is owed
  lease_all(ledger);
  EXPECT_EQ(ledger.admit(0, 0), Ledger::Admission::Duplicate);  // somebody has it
  EXPECT_EQ(ledger.admit(kSecond, 0), Ledger::Admission::Unknown);
  EXPECT_FALSE(ledger.was_issued(kSecond));
  EXPECT_TRUE(ledger.was_issued(0));
  EXPECT_EQ(ledger.admit(kFirst, 0), Ledger::Admission::Accepted);
  EXPECT_EQ(ledger.admit(0, 0), Ledger::Admission::Duplicate);  // it has arrived

  EXPECT_EQ(ledger.duplicates(), 3);
  EXPECT_THROW(ledger.drop(0, "filtered"), Error);
  EXPECT_THROW(ledger.quarantine(0, "unscored"), Error);
  EXPECT_THROW(ledger.trained(0, {0, 1}), Error);
  EXPECT_TRUE(ledger.is_queued(kFirst));
}

TEST(LedgerRefill, AQuarantinedRefillIsNotRefilled) {
  Ledger ledger(options());
  lease_all(ledger);
  ledger.admit(1, 0);
  ledger.drop(0, kNoSpread);
  lease_all(ledger);
  ledger.quarantine(kFirst, "unscored");

  EXPECT_THAT(*ledger.batch(0), ElementsAre(1));
  EXPECT_EQ(ledger.refills(0, {1}).refills, 1);
  EXPECT_EQ(ledger.refills(0, {1}).given_up, 0);
  EXPECT_EQ(ledger.fate(kFirst)->kind, FateKind::Quarantined);
}

TEST(LedgerRefill, WhoDiedOfTheGroupBeforeHasNothingToDoWithTheNext) {
  auto impatient = options();
  impatient.max_attempts = 1;
  Ledger ledger(impatient);
  ledger.lease("a", 0);
  EXPECT_EQ(ledger.release_actor("a"), 1);  // silent; its group 0 is given to another, who is quicker
  EXPECT_EQ(ledger.lease("b", 0)->group, 0u);
  ledger.drop(0, kNoSpread);
  EXPECT_EQ(ledger.lease("b", 0)->group, kFirst);
  EXPECT_EQ(ledger.release_actor("b"), 1);

  ledger.actor_died("a");
  EXPECT_THAT(ledger.expire(0), IsEmpty());
  EXPECT_EQ(ledger.fate(kFirst), std::nullopt);
  ledger.actor_died("b");
  EXPECT_THAT(ledger.expire(0), ElementsAre(kFirst));
}

TEST(LedgerRefill, ALateResultEndsTheLeaseOfWhoHasTheSameGroup) {
  Ledger ledger(options());
  ledger.lease("a", 0);
  ledger.expire(100);
  EXPECT_EQ(ledger.lease("b", 100)->group, 0u);
  ledger.drop(0, kNoSpread);  // as "a" brought it

  EXPECT_EQ(ledger.held_by("b"), 0);
  EXPECT_EQ(ledger.counts().leased, 1);
  EXPECT_EQ(ledger.lease("c", 100)->group, kFirst);
}

TEST(LedgerRefill, RewindingQueuesTheGroupThatWasTrained) {
  Ledger ledger(options());
  lease_all(ledger);
  ledger.drop(0, kNoSpread);
  lease_all(ledger);
  ledger.admit(kFirst, 0);
  ledger.admit(1, 0);
  ledger.trained(0, *ledger.batch(0));
  ledger.publish(1);

  ledger.rewind(0);

  EXPECT_THAT(*ledger.batch(0), ElementsAre(kFirst, 1));
  EXPECT_EQ(ledger.fate(0)->reason, "no spread");
  EXPECT_TRUE(ledger.counts().holds());
}

// After a rewind a refill of an early step may be produced while what was given back of a later one may not.
TEST(LedgerRefill, AnEarlierSlotIsLeasedBeforeALaterOneThatMustWait) {
  Ledger ledger(options());
  lease_all(ledger);
  ledger.publish(1);
  EXPECT_THAT(lease_all(ledger), ElementsAre(4, 5));
  ledger.rewind(0);
  ledger.release_actor("a");
  ledger.drop(0, kNoSpread);

  EXPECT_THAT(lease_all(ledger, "b"), ElementsAre(kFirst, 1, 2, 3));  // 4 and 5 need version 1
}

TEST(LedgerRefill, ByArrivalASlotThatIsRefilledNeedsNoOther) {
  Ledger ledger(options(/*exact_versions=*/false));
  lease_all(ledger);
  ledger.drop(0, kNoSpread);
  ledger.drop(2, "filtered");
  ledger.publish(4);

  const auto leased = lease_all(ledger);
  EXPECT_EQ(leased.front(), kFirst);
  EXPECT_EQ(leased.back(), 10u);  // 5 steps of 2, and one more for the filtered one
  EXPECT_EQ(ledger.version_for(kFirst), 3);
}

TEST(LedgerRefill, ByArrivalABatchIsShorterByTheSlotsGivenUp) {
  Ledger ledger(options(/*exact_versions=*/false));
  lease_all(ledger);
  for (const uint64_t group : {uint64_t{0}, kFirst, kSecond}) {
    ledger.drop(group, kNoSpread);
    lease_all(ledger);
  }
  ledger.admit(3, 0);

  ASSERT_THAT(*ledger.batch(0), ElementsAre(3));
  EXPECT_EQ(ledger.refills(0, {3}).given_up, 1);
  ledger.trained(0, {3});
  ledger.publish(1);
  ledger.admit(2, 0);
  EXPECT_EQ(ledger.batch(1), std::nullopt);  // whole again
  ledger.admit(1, 0);
  EXPECT_THAT(*ledger.batch(1), ElementsAre(2, 1));
  ledger.rewind(0);
  EXPECT_THAT(*ledger.batch(0), ElementsAre(3));
}

TEST(LedgerRefill, ByArrivalABatchThatWasFixedStaysAsLongAsItWas) {
  Ledger ledger(options(/*exact_versions=*/false));
  lease_all(ledger);
  ledger.admit(1, 0);
  ledger.admit(2, 0);
  ledger.restore_batch(0, *ledger.batch(0));
  ledger.trained(0, {1, 2});
  for (const uint64_t group : {uint64_t{0}, kFirst, kSecond}) {
    ledger.drop(group, kNoSpread);  // the next step is short of it
    lease_all(ledger);
  }

  ledger.rewind(0);

  EXPECT_THAT(*ledger.batch(0), ElementsAre(1, 2));
  ledger.restore(0);
  EXPECT_THAT(*ledger.batch(0), ElementsAre(1));
}

// A run that goes back ends in the same weights however far its actors were.
TEST(LedgerRefill, ARestoreOwesAnewWhatHasEndedOfWeightsThatAreGone) {
  for (const bool far : {false, true}) {
    Ledger ledger(options());
    for (const uint64_t group : lease_all(ledger)) ledger.admit(group, 0);
    ledger.trained(0, {0, 1});
    ledger.publish(1);
    lease_all(ledger);
    if (far) {
      ledger.quarantine(4, "unscored");
      for (const uint64_t refill : {uint64_t{0}, kFirst, kSecond}) {
        lease_all(ledger);
        ledger.drop(refill + 5, kNoSpread);
      }
    }

    ledger.restore(0);

    EXPECT_EQ(describe(ledger.counts()),
              "issued 6 = trained 0 + queued 4 + leased 2 + dropped 0 + quarantined 0");
    EXPECT_THAT(ledger.reasons(), IsEmpty());
    EXPECT_EQ(ledger.current(5), 5u);
    ledger.trained(0, {0, 1});
    ledger.publish(1);
    EXPECT_THAT(lease_all(ledger, "b"), ElementsAre(4, 5));
  }
}

TEST(LedgerRefill, ARestoreLeavesOutWhatWasPoisonedAfterRefills) {
  Ledger ledger(options());
  for (const uint64_t group : lease_all(ledger)) ledger.admit(group, 0);
  ledger.trained(0, {0, 1});
  ledger.publish(1);
  lease_all(ledger);
  ledger.drop(4, kNoSpread);
  lease_all(ledger);
  ledger.admit(kFirst + 4, 1);
  ledger.admit(5, 1);
  ledger.trained(1, {2, 3});
  ledger.trained(2, {kFirst + 4, 5}, {{kFirst + 4, "poison"}});

  ledger.restore(0);

  EXPECT_EQ(ledger.fate(4)->reason, "no spread");
  EXPECT_EQ(ledger.fate(kFirst + 4)->reason, "poison");
  EXPECT_EQ(describe(ledger.counts()),
            "issued 7 = trained 0 + queued 4 + leased 1 + dropped 1 + quarantined 1");
}

TEST(LedgerRefill, RefusesMoreRefillsThanAnIdHolds) {
  for (const int64_t refills : {int64_t{-1}, kMaxRefills + 1}) {
    EXPECT_THROW(Ledger({.prompts_per_step = 1, .total_steps = 1, .refills = refills}), Error);
  }
  EXPECT_THROW(Ledger({.prompts_per_step = 2, .total_steps = int64_t{1} << 40}), Error);
}

}  // namespace
}  // namespace sluice::buffers
