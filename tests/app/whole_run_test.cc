// A run from its first step to its end: with actors that die, a supervisor that dies, and signals. Whatever
// happens on the way, the weights at the end are the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::Each;
using testing::HasSubstr;

constexpr int64_t kSftSteps = 6;
constexpr int64_t kGrpoSteps = 20;
constexpr Millis kOrphanMs = 5'000;  // for the children of a supervisor that was killed

// What a finished run ends in.
struct Outcome {
  Json result;              // of the grpo stage
  std::string model;        // SHA-256 of the final model.safetensors
  std::vector<Json> steps;  // of metrics.jsonl, without what depends on the time

  std::string weights() const { return result.at("weights_sha256"); }
};

Outcome outcome_of(const Workspace& workspace) {
  Outcome outcome{
      .result = read_json(workspace.run() / "stages" / "grpo.json"),
      .model = sha256_file(workspace.run() / "checkpoints" / "latest" / "hf" / "model.safetensors")};
  for (const auto& line : workspace.metrics()) {
    Json kept = Json::object();
    for (const char* key : {"stage", "step", "stage_step", "loss", "grad_norm", "learning_rate", "num_tokens",
                            "reward", "kl", "entropy"}) {
      if (line.contains(key)) kept[key] = line[key];
    }
    outcome.steps.push_back(kept);
  }
  return outcome;
}

// The same recipe, left alone.
struct LeftAlone {
  LeftAlone() {
    EXPECT_EQ(run.code, 0) << run.out << run.err;
    outcome = outcome_of(workspace);
  }
  const Workspace workspace;
  const Finished run = sluice(workspace, {"run", "recipe.toml"});
  Outcome outcome;
};
const LeftAlone& left_alone() {
  static const LeftAlone run;
  return run;
}
const Outcome& undisturbed() { return left_alone().outcome; }

void expect_undisturbed(const Workspace& workspace) {
  const Outcome outcome = outcome_of(workspace);
  EXPECT_EQ(outcome.weights(), undisturbed().weights());
  EXPECT_EQ(outcome.model, undisturbed().model);
  ASSERT_EQ(outcome.steps.size(), static_cast<size_t>(kSftSteps + kGrpoSteps));
  for (size_t i = 0; i < outcome.steps.size(); ++i) {
    EXPECT_EQ(outcome.steps[i].at("step"), static_cast<int64_t>(i) + 1);  // each once
    EXPECT_EQ(outcome.steps[i], undisturbed().steps[i]);
  }
}

void expect_the_law(const Workspace& workspace) {
  int64_t policy_steps = 0;
  for (const auto& line : workspace.metrics()) {
    if (line.at("stage") != "grpo") continue;
    ++policy_steps;
    EXPECT_TRUE(law_closes(line, "law/")) << line;
    EXPECT_EQ(line.at("law/trained"), 4 * line.at("stage_step").get<double>());
  }
  EXPECT_EQ(policy_steps, kGrpoSteps);
  const Json law = read_json(workspace.run() / "stages" / "grpo.json").at("law");
  EXPECT_EQ(law, Json({{"issued", 80},
                       {"trained", 80},
                       {"queued", 0},
                       {"leased", 0},
                       {"dropped", 0},
                       {"quarantined", 0}}));
}

std::vector<std::string> sockets_in(const fs::path& folder) {
  std::vector<std::string> sockets;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_socket()) sockets.push_back(entry.path());
  }
  return sockets;
}

TEST(WholeRun, TwoActorsAndALearnerKeepTheLaw) {
  const auto& workspace = left_alone().workspace;
  const auto& run = left_alone().run;

  EXPECT_EQ(run.err, "");
  expect_the_law(workspace);
  EXPECT_THAT(run.out,
              HasSubstr("grpo: issued 80 = trained 80 + queued 0 + leased 0 + dropped 0 + quarantined 0"));
  EXPECT_THAT(run.out, HasSubstr("tiny/checkpoints/latest/hf\n"));
  EXPECT_TRUE(sockets_in(workspace.run()).empty());
  for (int64_t step = kSftSteps + 1; step <= kSftSteps + kGrpoSteps; ++step) {
    char name[32];
    std::snprintf(name, sizeof name, "step_%06d.jsonl", static_cast<int>(step));
    EXPECT_TRUE(fs::exists(workspace.run() / "rollouts" / name)) << name;
  }
}

TEST(WholeRun, TheTimeOfAStepIsTheSumOfItsParts) {
  const auto& workspace = left_alone().workspace;
  expect_steps_sum_to_the_time(workspace, "sft", {"batch", "train"});
  expect_steps_sum_to_the_time(workspace, "grpo", {"wait", "batch", "train", "record", "publish", "report"});
  const auto last = workspace.metrics().at(kSftSteps - 1);  // behind a step that was saved
  EXPECT_TRUE(last.contains("time/report"));
  EXPECT_GT(last.at("time/save"), 0);
}

TEST(WholeRun, ATraceShowsWhatEveryRoleDidInAStep) {
  const Workspace workspace;
  const auto run = sluice(workspace, {"run", "recipe.toml", "--trace"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("runs/tiny/trace.json"));

  auto traced = traced_by_process(workspace);
  EXPECT_TRUE(traced.at("sft learner-0").contains("step 3"));
  EXPECT_TRUE(traced.at("sft learner-0").contains("read ahead"));  // for step 4
  auto& learner = traced.at("grpo learner-0");
  for (const char* name : {"step 3", "wait", "batch", "train", "reference", "publish"}) {
    EXPECT_TRUE(learner.contains(name)) << name;
  }
  auto& actors = traced.at("grpo actor-0");
  actors.merge(traced.at("grpo actor-1"));  // one of them may have come later
  for (const char* name : {"decode", "real_words"}) EXPECT_TRUE(actors.contains(name)) << name;
  EXPECT_FALSE(fs::exists(workspace.run() / "traces"));
  expect_undisturbed(workspace);
}

// While it learns for long, actors make what comes next.
TEST(WholeRun, PlansTheNextStepWhileItLearns) {
  const Workspace workspace;
  const auto run =
      sluice(workspace, {"run", "recipe.toml", "--trace", "grpo.steps=4", "grpo.algorithm.epochs=20"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_TRUE(traced_by_process(workspace).at("grpo learner-0").contains("plan ahead"));
}

TEST(WholeRun, OfSupervisedStagesAloneIsTracedToo) {
  const Workspace workspace;
  const auto recipe = read_file(workspace / "recipe.toml");
  write_file_atomically(workspace / "recipe.toml", recipe.substr(0, recipe.rfind("[[stages]]")));
  const auto run = sluice(workspace, {"run", "recipe.toml", "--trace", "sft.steps=2"});
  ASSERT_EQ(run.code, 0) << run.err;

  const auto traced = traced_by_process(workspace).at("sft learner-0");
  EXPECT_TRUE(traced.contains("step 2"));  // there is no third
  EXPECT_TRUE(traced.contains("train"));
}

TEST(WholeRun, SameSeedSameWeights) {
  const Workspace workspace;
  const auto run = sluice(workspace, {"run", "recipe.toml"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  expect_undisturbed(workspace);

  const auto start = workspace.run() / "checkpoints" / undisturbed().result.at("started_from");
  EXPECT_NE(sha256_file(start / "hf" / "model.safetensors"),
            undisturbed().model);  // it has learned something
}

TEST(WholeRun, TheNumberOfActorsDoesNotChangeTheWeights) {
  const Workspace workspace;
  const auto run = sluice(workspace, {"run", "recipe.toml", "rollout.actors=3"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  expect_undisturbed(workspace);
}

TEST(WholeRun, AKilledActorIsReplacedAndNothingIsLost) {
  const Workspace workspace;
  Sluice run(workspace, {"run", "recipe.toml"});
  ASSERT_TRUE(run.wait_for_step("grpo", 3)) << run.out() << run.err();
  const auto family = run.descendants();
  ASSERT_TRUE(run.wait_for_step("grpo", 5)) << run.out() << run.err();
  const std::string out = run.out();  // "actor-1 joined (pid 4711)"
  const auto joined = [&out](const Stranger& process) {
    return process.runs("actor") &&
           out.find("actor-" + process.command().back() + " joined") != std::string::npos;
  };
  const auto actor = std::find_if(family.begin(), family.end(), joined);
  ASSERT_NE(actor, family.end());
  actor->signal(SIGKILL);

  ASSERT_EQ(run.exit_code(), 0) << run.out() << run.err();
  EXPECT_THAT(run.out(), HasSubstr("ended (killed by SIGKILL), starting another"));
  expect_the_law(workspace);
  expect_undisturbed(workspace);
}

TEST(WholeRun, AKilledSupervisorLeavesNobodyAndResumesToTheSameWeights) {
  const Workspace workspace;
  {
    Sluice run(workspace, {"run", "recipe.toml"});
    ASSERT_TRUE(run.wait_for_step("grpo", 8)) << run.out() << run.err();
    const auto family = run.descendants();
    ASSERT_TRUE(run.wait_for_step("grpo", 12)) << run.out() << run.err();  // checkpoints at 5 and 10
    EXPECT_GE(family.size(), 3u);  // a learner, two actors, perhaps Redis
    run.process().signal(SIGKILL);
    const SteadyClock clock;
    const Millis until = clock.now_ms() + kOrphanMs;
    for (const auto& process : family) {
      EXPECT_TRUE(process.gone(std::max<Millis>(0, until - clock.now_ms()))) << process.command().at(1);
    }
    EXPECT_EQ(run.exit_code(), 128 + SIGKILL);
  }
  EXPECT_FALSE(fs::exists(workspace.run() / "summary.json"));

  const auto resumed = sluice(workspace, {"run", "recipe.toml", "--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("resumed: "));
  EXPECT_THAT(resumed.out, testing::Not(HasSubstr("== sft")));  // that stage was done
  expect_the_law(workspace);
  expect_undisturbed(workspace);
}

TEST(WholeRun, AKilledLearnerAndADamagedCheckpointAreSaidAndTheRunGoesOn) {
  const Workspace workspace;
  {
    Sluice run(workspace, {"run", "recipe.toml"});
    ASSERT_TRUE(run.wait_for_step("grpo", 8)) << run.out() << run.err();
    const auto family = run.descendants();
    ASSERT_TRUE(run.wait_for_step("grpo", 12)) << run.out() << run.err();  // checkpoints at 5 and 10
    const auto learner =
        std::find_if(family.begin(), family.end(), [](const auto& p) { return p.runs("learner"); });
    ASSERT_NE(learner, family.end());
    learner->signal(SIGKILL);

    EXPECT_EQ(run.exit_code(), 1);
    EXPECT_THAT(run.err(), HasSubstr("the learner of stage grpo was killed by SIGKILL"));
    EXPECT_THAT(run.err(), HasSubstr("--resume"));
    for (const auto& process : family) EXPECT_TRUE(process.gone(0)) << process.command().at(1);
    EXPECT_TRUE(sockets_in(workspace.run()).empty());
  }
  const auto newest = fs::canonical(workspace.run() / "checkpoints" / "latest");
  fs::resize_file(newest / "hf" / "model.safetensors", 100);

  const auto resumed = sluice(workspace, {"run", "recipe.toml", "--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("damaged checkpoint left alone: " + newest.string()));
  expect_the_law(workspace);
  expect_undisturbed(workspace);
}

// Stops the run after a step and expects a checkpoint of its last step and nobody left.
void stop(const Workspace& workspace, const std::string& stage, int64_t stage_step, int signal) {
  SCOPED_TRACE(stage);
  Sluice run(workspace, {"run", "recipe.toml", "--resume"});
  ASSERT_TRUE(run.wait_for_step(stage, 1)) << run.out() << run.err();
  const auto family = run.descendants();
  ASSERT_TRUE(run.wait_for_step(stage, stage_step)) << run.out() << run.err();
  run.process().signal(signal);

  ASSERT_EQ(run.exit_code(), 128 + signal) << run.out() << run.err();
  EXPECT_THAT(run.out(), HasSubstr("--resume"));
  EXPECT_EQ(run.err(), "");
  for (const auto& process : family) EXPECT_TRUE(process.gone(0)) << process.command().at(1);
  EXPECT_TRUE(sockets_in(workspace.run()).empty());
  const Json last = workspace.metrics().back();
  const Json state = read_json(workspace.run() / "checkpoints" / "latest" / "state" / "state.json");
  EXPECT_EQ(state.at("step"), last.at("step"));
}

TEST(WholeRun, SaysWhatEveryProcessIsDoingWhenAsked) {
  const Workspace workspace;
  Sluice run(workspace, {"run", "recipe.toml", "grpo.steps=5000"});
  ASSERT_TRUE(run.wait_for_step("grpo", 2)) << run.out() << run.err();
  run.process().signal(SIGUSR2);

  // The supervisor on stdout, the learner by itself on its stderr, an actor in its log.
  EXPECT_TRUE(run.wait_until([&] {
    const auto actor = read_file(workspace.run() / "logs" / "actor-1.log");
    return run.out().find("actor-1 (pid ") != std::string::npos &&
           run.err().find("learner-0: grpo: issued ") != std::string::npos &&
           actor.find("actor-1 (pid ") != std::string::npos;
  })) << run.out()
      << run.err();
  EXPECT_THAT(run.err(), HasSubstr("supervisor (pid "));
  run.process().signal(SIGINT);
  EXPECT_EQ(run.exit_code(), 128 + SIGINT);
}

TEST(WholeRun, StopsAfterAStepOnSigintAndSigtermAndGoesOn) {
  const Workspace workspace;
  stop(workspace, "sft", 1, SIGINT);
  stop(workspace, "grpo", 7, SIGTERM);
  const auto resumed = sluice(workspace, {"run", "recipe.toml", "--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  expect_the_law(workspace);
  expect_undisturbed(workspace);
}

// Adapters in both stages, stopped in the first and killed in the second.
TEST(WholeRun, WithAdaptersItResumesToTheSameWeights) {
  const std::vector<std::string> arguments{"run",           "recipe.toml",       "--resume",
                                           "grpo.steps=10", "model.lora.rank=4", "optim.lr=1e-2"};
  const Workspace alone, disturbed;
  const auto undisturbed = sluice(alone, arguments);
  ASSERT_EQ(undisturbed.code, 0) << undisturbed.out << undisturbed.err;
  sluice_until(disturbed, arguments, "sft", 2, SIGINT);
  sluice_until(disturbed, arguments, "grpo", 7, SIGKILL);  // a checkpoint at 5
  const auto resumed = sluice(disturbed, arguments);
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;

  const Outcome expected = outcome_of(alone), outcome = outcome_of(disturbed);
  EXPECT_EQ(outcome.weights(), expected.weights());
  EXPECT_EQ(outcome.model, expected.model);
  EXPECT_EQ(outcome.steps, expected.steps);
  const auto checkpoints = disturbed.run() / "checkpoints";
  EXPECT_NE(outcome.model, sha256_file(checkpoints / "step_000006" / "hf" / "model.safetensors"));
  const auto adapter = checkpoints / "latest" / "adapter";
  EXPECT_TRUE(fs::exists(adapter / "adapter_model.safetensors"));
  EXPECT_EQ(read_json(adapter / "adapter_config.json").at("base_model_name_or_path"),
            (checkpoints / "step_000006" / "hf").string());
  // Moments of the adapters alone.
  EXPECT_LT(fs::file_size(checkpoints / "latest" / "state" / "optimizer.safetensors"),
            fs::file_size(checkpoints / "latest" / "hf" / "model.safetensors"));
}

// With a critic, killed between two checkpoints: it too ends in the same weights.
TEST(WholeRun, WithACriticItResumesToTheSameWeights) {
  const std::vector<std::string> arguments{"run",
                                           "recipe.toml",
                                           "--resume",
                                           "grpo.steps=10",
                                           "grpo.algorithm.baseline=critic",
                                           "grpo.algorithm.whitening=tokens",
                                           "grpo.algorithm.kl_in=reward",
                                           "grpo.algorithm.minibatches=2"};
  const Workspace alone, disturbed;
  const auto undisturbed = sluice(alone, arguments);
  ASSERT_EQ(undisturbed.code, 0) << undisturbed.out << undisturbed.err;
  sluice_until(disturbed, arguments, "grpo", 7, SIGKILL);  // a checkpoint at 5
  const auto resumed = sluice(disturbed, arguments);
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;

  const Outcome expected = outcome_of(alone), outcome = outcome_of(disturbed);
  EXPECT_EQ(outcome.weights(), expected.weights());
  EXPECT_EQ(outcome.model, expected.model);
  EXPECT_EQ(outcome.steps, expected.steps);
  const auto critic = [](const Workspace& workspace, const std::string& checkpoint) {
    return sha256_file(workspace.run() / "checkpoints" / checkpoint / "critic" / "model.safetensors");
  };
  EXPECT_EQ(critic(disturbed, "latest"), critic(alone, "latest"));
  EXPECT_NE(critic(alone, "latest"), critic(alone, "step_000011"));  // it has learned something
  EXPECT_TRUE(alone.metrics().back().contains("value_loss"));
}

TEST(WholeRun, AGroupOfOneIsMeasuredAgainstAGreedyCompletion) {
  const Workspace workspace;
  const auto run = sluice(workspace, {"run", "recipe.toml", "sft.steps=1", "grpo.steps=2",
                                      "grpo.algorithm.baseline=greedy", "rollout.group_size=1"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  const Json last = workspace.metrics().back();
  EXPECT_TRUE(last.contains("greedy_reward")) << last;
  EXPECT_TRUE(law_closes(last, "law/")) << last;
}

TEST(WholeRun, ResumingAFinishedRunChangesNothing) {
  const Workspace workspace;
  const std::vector<std::string> arguments{"run", "recipe.toml", "--resume", "sft.steps=1", "grpo.steps=1"};
  ASSERT_EQ(sluice(workspace, arguments).code, 0);
  auto before = contents(workspace.run());
  const auto again = sluice(workspace, arguments);
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("model: "));
  auto after = contents(workspace.run());
  for (auto* files : {&before, &after}) {
    files->erase("logs/redis-0.log");  // its server was started again
    files->erase("ended.json");        // when that was
  }
  EXPECT_EQ(after, before);
}

}  // namespace
}  // namespace sluice::app
