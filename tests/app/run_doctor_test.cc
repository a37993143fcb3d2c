// `sluice doctor RUN`: what went wrong, from what the run left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(RunDoctor, FindsNothingWrongWithAHealthyRun) {
  const Workspace workspace;
  ASSERT_EQ(sluice(workspace, {"run", "recipe.toml", "sft.steps=3", "grpo.steps=4"}).code, 0);
  const auto doctor = sluice(workspace, {"doctor", "runs/tiny"});
  EXPECT_EQ(doctor.code, 0) << doctor.out;
  EXPECT_THAT(doctor.out, AllOf(HasSubstr("finished, exit code 0, after step 4 of 4 of grpo"),
                                HasSubstr("grpo: issued 16 = trained 16"), HasSubstr("no alarm in 7 steps"),
                                HasSubstr("next        sluice rollouts")));
}

TEST(RunDoctor, SaysWhyARunFailed) {
  const Workspace workspace;
  const auto run =
      sluice(workspace, {"run", "recipe.toml"}, {{"SLUICE_FAIL", "journal.after_write:3:error"}});
  ASSERT_NE(run.code, 0);
  const auto doctor = sluice(workspace, {"doctor", "runs/tiny"});
  EXPECT_EQ(doctor.code, 1) << doctor.out << doctor.err;
  EXPECT_THAT(doctor.out, AllOf(HasSubstr("failed, exit code " + std::to_string(run.code)),
                                HasSubstr("logs/learner-0.log"),
                                HasSubstr("next        sluice run recipe.toml --resume")));
  const Json report = parse_json(sluice(workspace, {"doctor", "runs/tiny", "--json"}).out, "doctor");
  EXPECT_EQ(report["ill"], true);
  EXPECT_EQ(report["state"], "failed");
}

TEST(RunDoctor, KnowsARunThatWasKilled) {
  const Workspace workspace;
  sluice_until(workspace, {"run", "recipe.toml"}, "grpo", 2, SIGKILL);
  Json status = Json::object();
  for (int tries = 0; tries < 100 && status.value("state", "running") == "running"; ++tries)
    status = parse_json(sluice(workspace, {"doctor", "runs/tiny", "--json"}).out, "doctor");
  EXPECT_EQ(status["state"], "killed");
  const auto doctor = sluice(workspace, {"doctor", "runs/tiny"});
  EXPECT_EQ(doctor.code, 1);
  EXPECT_THAT(doctor.out,
              AllOf(HasSubstr("killed: no process of it is left"), HasSubstr("learner-0   was at: "),
                    HasSubstr("sluice run recipe.toml --resume")));
}

// All completions of every group are worth the same: nothing can be learned.
TEST(RunDoctor, NamesTheIllnessOfARun) {
  const Workspace workspace;
  const auto run = sluice(workspace, {"run", "recipe.toml", "sft.steps=2", "grpo.steps=14",
                                      "rewards=[{ use = \"length\", max = 1000 }]"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto doctor = sluice(workspace, {"doctor", "runs/tiny"});
  EXPECT_EQ(doctor.code, 1);
  EXPECT_THAT(doctor.out, AllOf(HasSubstr("alarm       equal_rewards"), HasSubstr("helps       ")));
}

}  // namespace
}  // namespace sluice::app
