// A run whose prompts often teach nothing: others take their place, and whatever is killed on the way, the
// same ones do, to the same weights.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr int64_t kSteps = 20;

// A completion ends at the first "e" and is worth 1 until it is longer than 12 characters: of two, both are
// worth 1 more often than not.
std::vector<std::string> arguments(std::vector<std::string> more = {}) {
  std::vector<std::string> all{"run",
                               "recipe.toml",
                               "--resume",
                               "rewards=[{use='length', max=12}]",
                               "rollout.stop=['e']",
                               "rollout.group_size=2",
                               "grpo.rollout.refills=2"};
  all.insert(all.end(), more.begin(), more.end());
  return all;
}

// What a finished run ends in, and what its steps say that does not depend on the time.
struct Outcome {
  std::string weights;
  Json law, reasons;
  std::vector<Json> steps;

  double sum(const std::string& metric) const {
    double sum = 0;
    for (const auto& step : steps) sum += step.value(metric, 0.0);
    return sum;
  }
};

Outcome outcome_of(const Workspace& workspace) {
  const Json result = read_json(workspace.run() / "stages" / "grpo.json");
  Outcome outcome{result.at("weights_sha256"), result.at("law"), result.at("reasons"), {}};
  for (const auto& line : workspace.metrics()) {
    if (line.at("stage") != "grpo") continue;
    EXPECT_TRUE(law_closes(line, "law/")) << line;
    Json kept = Json::object();
    for (const char* key : {"step", "loss", "grad_norm", "num_tokens", "reward", "kl", "frac_reward_zero_std",
                            "refills", "refills/dropped", "refills/fallback"}) {
      if (line.contains(key)) kept[key] = line[key];
    }
    outcome.steps.push_back(kept);
  }
  return outcome;
}

const Outcome& undisturbed() {
  static const Outcome outcome = [] {
    const Workspace workspace;
    const auto run = sluice(workspace, arguments());
    EXPECT_EQ(run.code, 0) << run.out << run.err;
    EXPECT_THAT(run.out, HasSubstr("groups of equal rewards dropped, up to 2 other prompts"));
    EXPECT_THAT(run.out, HasSubstr(" groups: no spread"));
    return outcome_of(workspace);
  }();
  return outcome;
}

void expect_undisturbed(const Workspace& workspace) {
  const auto outcome = outcome_of(workspace);
  EXPECT_EQ(outcome.weights, undisturbed().weights);
  EXPECT_EQ(outcome.law, undisturbed().law);
  EXPECT_EQ(outcome.reasons, undisturbed().reasons);
  EXPECT_EQ(outcome.steps, undisturbed().steps);
}

TEST(Refills, HappenAndAreCountedInTheLawAndInEveryStep) {
  const auto& outcome = undisturbed();
  ASSERT_EQ(outcome.steps.size(), static_cast<size_t>(kSteps));
  const double refills = outcome.sum("refills");
  EXPECT_GE(refills, 10);
  EXPECT_GE(outcome.sum("refills/fallback"), 1);
  EXPECT_EQ(outcome.sum("refills/dropped"), refills);  // the last group of a slot was kept
  EXPECT_EQ(outcome.reasons, Json({{"no spread", refills}}));
  EXPECT_EQ(outcome.law, Json({{"issued", 4 * kSteps + refills},
                               {"trained", 4 * kSteps},
                               {"queued", 0},
                               {"leased", 0},
                               {"dropped", refills},
                               {"quarantined", 0}}));
  for (const auto& step : outcome.steps) {
    EXPECT_EQ(step.at("frac_reward_zero_std"), step.at("refills/fallback").get<double>() / 4) << step;
  }
}

TEST(Refills, AreTheSameWithThreeActors) {
  const Workspace workspace;
  const auto run = sluice(workspace, arguments({"rollout.actors=3"}));
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  expect_undisturbed(workspace);
}

// An actor, then the learner, then the whole run at once.
TEST(Refills, AreTheSameWhoeverIsKilled) {
  const Workspace workspace;
  for (const auto& [victim, after] :
       {std::pair<std::string, int64_t>{"learner", 7}, {"", 12}, {"actor", 16}}) {
    SCOPED_TRACE(victim);
    Sluice run(workspace, arguments());
    ASSERT_TRUE(run.wait_for_step("grpo", after)) << run.out() << run.err();
    if (victim.empty()) {
      run.process().signal(SIGKILL);
      EXPECT_EQ(run.exit_code(), 128 + SIGKILL);
      continue;
    }
    const auto family = run.descendants();
    const auto process = std::ranges::find_if(family, [&](const auto& p) { return p.runs(victim); });
    ASSERT_NE(process, family.end());
    process->signal(SIGKILL);
    EXPECT_EQ(run.exit_code(), victim == "learner" ? 1 : 0) << run.out() << run.err();
  }
  expect_undisturbed(workspace);
}

TEST(Refills, MakeShorterBatchesWhereTheRecipeSaysSo) {
  const Workspace workspace;
  const auto run = sluice(workspace, arguments({"grpo.rollout.refill_fallback=shrink"}));
  ASSERT_EQ(run.code, 0) << run.out << run.err;

  const auto outcome = outcome_of(workspace);
  const double given_up = outcome.sum("refills/fallback");
  EXPECT_GE(given_up, 1);
  EXPECT_EQ(outcome.law.at("trained"), 4 * kSteps - given_up);
  EXPECT_EQ(outcome.law.at("dropped"), outcome.sum("refills") + given_up);
  for (const auto& step : outcome.steps) EXPECT_EQ(step.at("frac_reward_zero_std"), 0) << step;
}

TEST(Refills, StopTheRunWithTheReasonWhereTheRecipeSaysSo) {
  const Workspace workspace;
  const auto run = sluice(workspace, arguments({"grpo.rollout.refill_fallback=stop"}));
  EXPECT_EQ(run.code, 5) << run.out << run.err;
  EXPECT_THAT(run.err,
              HasSubstr("found no prompt to learn from: 3 were tried and each time all 2 completions "
                        "earned the same; take prompts that are neither too hard nor too easy"));
}

TEST(Refills, KeepTheLawWithoutDeterminism) {
  const Workspace workspace;
  const auto run =
      sluice(workspace, arguments({"deterministic=false", "grpo.rollout.refill_fallback=shrink"}));
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  const auto outcome = outcome_of(workspace);
  EXPECT_EQ(outcome.steps.size(), static_cast<size_t>(kSteps));
  EXPECT_GE(outcome.sum("refills"), 1);
}

}  // namespace
}  // namespace sluice::app
