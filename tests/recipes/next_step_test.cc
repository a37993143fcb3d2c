#include "recipes/internal/next_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <latch>
#include <mutex>

#include "base/error.h"

namespace sluice::recipes::internal {
namespace {

using testing::ElementsAre;

using Groups = std::vector<buffers::RolloutGroup>;

Groups groups_of(const std::vector<uint64_t>& ids) {
  Groups groups;
  for (const uint64_t id : ids) groups.push_back({.group = id});
  return groups;
}

std::vector<uint64_t> ids_of(const learner::StepPlan& plan) {
  std::vector<uint64_t> ids;
  for (const auto& group : plan.batch.groups) ids.push_back(group.group);
  return ids;
}

learner::StepPlan plan_of(int64_t step, Groups groups) {
  return {.batch = {.step = step, .groups = std::move(groups)}, .updates = {}};
}

// One that foresees groups 4 and 5 of whatever step, and counts its plans.
struct Counted {
  void plan_ahead(int64_t step) {
    next.begin(step);
    planned.wait();
  }

  std::atomic<int> plans = 0;
  std::latch planned{1};  // once
  NextStep next{[](int64_t /*step*/, const std::stop_token& /*stop*/) {
                  return groups_of({4, 5});
                },
                [this](int64_t step, Groups groups) {
                  if (++plans == 1) planned.count_down();
                  return plan_of(step, std::move(groups));
                }};
};

TEST(NextStep, IsPlannedBeforeItIsAskedFor) {
  Counted counted;
  counted.plan_ahead(2);

  const auto plan = counted.next.take(2, groups_of({4, 5}));

  EXPECT_EQ(plan.batch.step, 2);
  EXPECT_THAT(ids_of(plan), ElementsAre(4, 5));
  EXPECT_EQ(counted.plans, 1);
  EXPECT_THAT(ids_of(counted.next.take(2, groups_of({4, 5}))), ElementsAre(4, 5));  // it is given once
  EXPECT_EQ(counted.plans, 2);
}

TEST(NextStep, IsOfTheGroupsThatItTakesWhateverWasForeseen) {
  Counted counted;
  counted.plan_ahead(2);
  EXPECT_THAT(ids_of(counted.next.take(2, groups_of({4, 6}))), ElementsAre(4, 6));
  EXPECT_EQ(counted.plans, 2);

  counted.next.begin(3);
  counted.next.begin(3);  // the one before is given up
  EXPECT_EQ(counted.next.take(7, groups_of({4, 5})).batch.step, 7);
}

TEST(NextStep, DoesNotWaitForGroupsThatAreNotThere) {
  std::mutex mutex;
  std::condition_variable_any never;
  const auto waits = [&](int64_t /*step*/, const std::stop_token& stop) -> std::optional<Groups> {
    std::unique_lock lock(mutex);
    never.wait(lock, stop, [] { return false; });
    return std::nullopt;
  };
  NextStep next(waits, plan_of);
  next.begin(2);
  EXPECT_THAT(ids_of(next.take(2, groups_of({1}))), ElementsAre(1));
  next.begin(3);  // and ends with its owner
}

TEST(NextStep, SaysWhatIsWrongWithItsGroupsWhenItTakesThem) {
  NextStep next([](int64_t, const std::stop_token&) { return groups_of({4}); },
                [](int64_t /*step*/, const Groups& groups) -> learner::StepPlan {
                  fail<DataError>("group ", groups.front().group, " has an empty prompt");
                });
  next.begin(2);
  EXPECT_THROW(next.take(2, groups_of({4})), DataError);
}

}  // namespace
}  // namespace sluice::recipes::internal
