// `sluice top`: a run on one screen, before, while and after.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <sstream>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

Json status_of(const Workspace& workspace) {
  const auto top = sluice(workspace, {"top", "runs/tiny", "--json"});
  EXPECT_EQ(top.code, 0) << top.err;
  return parse_json(top.out, "top");
}

class FinishedRun : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    workspace_ = new Workspace;
    const auto run = sluice(*workspace_, {"run", "recipe.toml", "sft.steps=3", "grpo.steps=12"});
    ASSERT_EQ(run.code, 0) << run.out << run.err;
  }
  static void TearDownTestSuite() { delete workspace_; }
  static Finished top(const std::string& columns, const std::string& lines = "24",
                      const std::string& locale = "C.UTF-8") {
    return sluice(*workspace_, {"top", "runs/tiny", "--once"},
                  {{"COLUMNS", columns}, {"LINES", lines}, {"LC_ALL", locale}});
  }
  static Workspace* workspace_;
};
Workspace* FinishedRun::workspace_ = nullptr;

TEST_F(FinishedRun, IsOneScreen) {
  const auto once = top("80");
  EXPECT_EQ(once.code, 0) << once.err;
  EXPECT_THAT(once.out, AllOf(HasSubstr("tiny  finished"), HasSubstr("grpo 12/12, stage 2 of 2"),
                              HasSubstr("100%"), HasSubstr("\nreward "), HasSubstr("\nkl "),
                              HasSubstr("\nentropy "), HasSubstr("\nlength "), HasSubstr("queue "),
                              HasSubstr("credits "), HasSubstr("time     "), HasSubstr("\u2588")));
  EXPECT_THAT(once.out, Not(HasSubstr("\x1b")));
  std::istringstream in(once.out);
  for (std::string line; std::getline(in, line);) {
    if (line.find(" .. ") != std::string::npos) {
      EXPECT_THAT(line, Not(EndsWith("...")));  // as -2.096e-05 .. 0 once did
    }
  }
}

TEST_F(FinishedRun, FitsEveryTerminal) {
  for (const auto& [columns, lines] : {std::pair{80, 24}, {40, 10}, {20, 4}, {10, 4}, {200, 60}}) {
    const auto once = top(std::to_string(columns), std::to_string(lines), "C");
    EXPECT_EQ(once.code, 0) << once.err;
    std::istringstream in(once.out);
    int count = 0;
    for (std::string line; std::getline(in, line); ++count) EXPECT_LE(line.size(), columns) << line;
    EXPECT_LE(count, lines);
    for (const char c : once.out) EXPECT_LT(static_cast<unsigned char>(c), 0x80);
  }
}

TEST_F(FinishedRun, AsJsonSaysTheSame) {
  const Json status = status_of(*workspace_);
  EXPECT_EQ(status["state"], "finished");
  EXPECT_EQ(status["last"], workspace_->metrics().back());
  EXPECT_EQ(status["last"]["step"], 15);
  EXPECT_EQ(status["exit_code"], 0);
  // What was done while it went on is none of its present.
  EXPECT_EQ(status["doing"], Json::object());
  EXPECT_EQ(status["live"]["actors"], Json::object());
  double sum = 0;
  for (const auto& [part, share] : status["time"].items()) sum += share.get<double>();
  EXPECT_NEAR(sum, 1, 1e-6);
}

TEST(Top, IsThereBeforeTheFirstStepAndWhileTheRunGoesOn) {
  const Workspace workspace;
  Sluice run(workspace, {"run", "recipe.toml", "sft.steps=400"});
  ASSERT_TRUE(run.wait_until([&] { return fs::exists(workspace.run() / "run.json"); }));
  const auto early = sluice(workspace, {"top", "runs/tiny", "--once"});
  EXPECT_EQ(early.code, 0) << early.err;
  ASSERT_TRUE(run.wait_for_step("sft", 5));
  const Json status = status_of(workspace);
  EXPECT_EQ(status["state"], "running");
  EXPECT_EQ(status["last"]["stage_steps"], 400);
  EXPECT_TRUE(status["seconds_left"].is_number());
  EXPECT_THAT(status["doing"]["learner-0"].get<std::string>(), AnyOf(HasSubstr("sft"), HasSubstr("step")));
  run.process().signal(SIGINT);
  ASSERT_EQ(run.exit_code(), 130);
  EXPECT_EQ(status_of(workspace)["state"], "stopped");
  EXPECT_THAT(sluice(workspace, {"top", "runs/tiny", "--once"}).out,
              HasSubstr("goes on with: sluice run recipe.toml --resume"));
}

}  // namespace
}  // namespace sluice::app
