#include "monitor/run_history.h"

#include <gmock/gmock.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "monitor/jsonl_sink.h"
#include "tests/base/temp_folder.h"

namespace sluice::monitor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class RunHistoryTest : public testing::Test {
 protected:
  void append(const std::string& bytes) { std::ofstream(file_, std::ios::app | std::ios::binary) << bytes; }
  static std::string line(const StepReport& report) { return to_json(report).dump() + "\n"; }
  static StepReport step(int64_t step, double wall_time = 1) {
    return {.stage = "grpo", .step = step, .wall_time = wall_time, .metrics = {{"reward", 0.5}}};
  }
  std::vector<int64_t> steps() const {
    std::vector<int64_t> out;
    for (const auto& report : history_.steps()) out.push_back(report.step);
    return out;
  }

  TempFolder folder_;
  const std::filesystem::path file_ = folder_.path() / "metrics.jsonl";
  RunHistory history_{file_};
};

TEST_F(RunHistoryTest, AStepComesBackAsItWasReported) {
  JsonlSink(file_, 0).write({.stage = "grpo",
                             .step = 3,
                             .stage_step = 2,
                             .stage_steps = 9,
                             .wall_time = 1.5,
                             .metrics = {{"reward", 0.25}, {"kl", std::numeric_limits<double>::infinity()}},
                             .note = "a step was skipped",
                             .alarms = {{"no_reward", "every one earned 0", "look", 3}}});
  ASSERT_TRUE(history_.refresh());
  ASSERT_THAT(history_.steps(), SizeIs(1));
  const auto& report = history_.steps().front();
  EXPECT_EQ(report.stage, "grpo");
  EXPECT_EQ(report.step, 3);
  EXPECT_EQ(report.stage_step, 2);
  EXPECT_EQ(report.stage_steps, 9);
  EXPECT_EQ(report.wall_time, 1.5);
  EXPECT_EQ(report.metrics.at("reward"), 0.25);
  EXPECT_TRUE(std::isnan(report.metrics.at("kl")));
  EXPECT_EQ(report.note, "a step was skipped");
  ASSERT_THAT(report.alarms, SizeIs(1));
  EXPECT_EQ(report.alarms[0].suggestion, "look");
  EXPECT_EQ(report.alarms[0].since_step, 3);
}

TEST_F(RunHistoryTest, ARunThatHasNotBegunHasNoStep) {
  EXPECT_FALSE(history_.refresh());
  EXPECT_THAT(history_.steps(), IsEmpty());
}

TEST_F(RunHistoryTest, ALineIsTakenInWhenItIsWhole) {
  const auto second = line(step(2));
  append(line(step(1)) + second.substr(0, 20));
  EXPECT_TRUE(history_.refresh());
  EXPECT_THAT(steps(), ElementsAre(1));
  EXPECT_FALSE(history_.refresh());
  append(second.substr(20));
  EXPECT_TRUE(history_.refresh());
  EXPECT_THAT(steps(), ElementsAre(1, 2));
  EXPECT_EQ(history_.generation(), 0);
}

// The resumed run takes steps 2 and 3 again before anybody looks, and the file is longer than it was.
TEST_F(RunHistoryTest, StepsThatAResumedRunTakesAgainTakeTheOldOnesPlace) {
  for (int64_t i = 1; i <= 3; ++i) append(line(step(i)));
  history_.refresh();
  {
    JsonlSink sink(file_, 1);
    for (int64_t i = 2; i <= 4; ++i) sink.write(step(i, 7));
  }
  EXPECT_TRUE(history_.refresh());
  EXPECT_THAT(steps(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(history_.steps()[1].wall_time, 7);
  EXPECT_EQ(history_.generation(), 1);
}

TEST_F(RunHistoryTest, StepsThatWereCutAreGone) {
  for (int64_t i = 1; i <= 3; ++i) append(line(step(i)));
  history_.refresh();
  const JsonlSink cut(file_, 1);
  EXPECT_TRUE(history_.refresh());
  EXPECT_THAT(steps(), ElementsAre(1));
}

TEST_F(RunHistoryTest, DamageIsSaidWithItsLineEachTime) {
  append(line(step(1)) + "{\"schema\":1,\"step\":2}\n" + line(step(3)));
  for (int i = 0; i < 2; ++i) {
    try {
      history_.refresh();
      FAIL() << "the damage was not seen";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("metrics.jsonl:2"));
    }
    EXPECT_THAT(steps(), ElementsAre(1));
  }
}

TEST_F(RunHistoryTest, AMetricThatIsNoNumberIsDamage) {
  append(R"({"schema":1,"stage":"s","step":1,"stage_step":1,"stage_steps":1,"wall_time":1,"kl":"high"})"
         "\n");
  EXPECT_THROW(history_.refresh(), DataError);
}

TEST_F(RunHistoryTest, OfALongRunWhatIsOlderBecomesThinner) {
  std::string lines;
  for (int64_t i = 1; i <= 1000; ++i) lines += line(step(i));
  append(lines);
  RunHistory history(file_, 16);
  history.refresh();
  std::vector<int64_t> kept;
  for (const auto& report : history.steps()) kept.push_back(report.step);
  EXPECT_THAT(kept, SizeIs(testing::Le(16)));
  EXPECT_EQ(kept.front(), 1);
  EXPECT_THAT((std::vector<int64_t>{kept.end() - 8, kept.end()}),
              ElementsAre(993, 994, 995, 996, 997, 998, 999, 1000));
  EXPECT_TRUE(std::ranges::is_sorted(kept));
  EXPECT_THAT((std::vector<int64_t>{kept.begin(), kept.begin() + 4}), ElementsAre(1, 257, 513, 769));

  RunHistory all(file_, RunHistory::kAll);
  all.refresh();
  EXPECT_THAT(all.steps(), SizeIs(1000));
}

TEST_F(RunHistoryTest, AnAlarmIsKeptOnceWithTheStepsItStood) {
  std::string lines;
  for (int64_t i = 1; i <= 100; ++i) {
    auto report = step(i);
    if (i >= 10 && i < 20) report.alarms = {{"no_reward", "for " + std::to_string(i), "look", 10}};
    if (i == 50) report.alarms = {{"no_reward", "again", "look", 50}};
    lines += line(report);
  }
  append(lines);
  RunHistory history(file_, 8);
  history.refresh();
  ASSERT_THAT(history.alarms(), SizeIs(2));
  EXPECT_EQ(history.alarms()[0].alarm.since_step, 10);
  EXPECT_EQ(history.alarms()[0].until_step, 19);
  EXPECT_EQ(history.alarms()[0].alarm.sentence, "for 19");
  EXPECT_EQ(history.alarms()[1].until_step, 50);
}

}  // namespace
}  // namespace sluice::monitor
