// A run whose stages are trained by several processes: it ends in the same weights each time, says who is
// gone, and goes on with another number of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "base/clock.h"
#include "base/files.h"
#include "tests/app/sluice_process.h"
#include "tests/base/taken_port.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr Millis kFaultMs = 60'000;  // within which a fault ends the run (promise 4)

// Ranks that do not wait long for each other, and no checkpoint, which may be long in writing.
const std::vector<std::string> kHasty = {"learner.rank_timeout_s=5", "checkpoint.every=1000"};

const std::vector<std::string> kRun = {"run", "recipe.toml"};

std::vector<std::string> on_ranks(int64_t count, std::vector<std::string> more = {}) {
  auto arguments = kRun;
  arguments.push_back("learner.ranks=" + std::to_string(count));
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

std::string weights_of(const Workspace& workspace) {
  return read_json(workspace.run() / "stages" / "grpo.json").at("weights_sha256");
}

// What two ranks end in when they are left alone.
const Workspace& undisturbed() {
  static const Workspace workspace;
  static const bool ran = [] {
    const auto run = sluice(workspace, on_ranks(2, {"--trace"}));
    EXPECT_EQ(run.code, 0) << run.out << run.err;
    EXPECT_EQ(run.err, "");
    return true;
  }();
  EXPECT_TRUE(ran);
  return workspace;
}

// The process of a rank.
const Stranger* rank_of(const std::vector<Stranger>& family, const std::string& rank) {
  const auto found = std::find_if(family.begin(), family.end(), [&](const Stranger& process) {
    return process.runs("learner") && process.command().back() == rank;
  });
  return found == family.end() ? nullptr : &*found;
}

// How a run ended that lost a rank, and what it said; nobody is left behind it.
Finished end_of(const Workspace& workspace, Sluice& run, Millis within) {
  const int code = run.exit_code(within);
  for (const auto& process : workspace.processes()) {
    EXPECT_TRUE(process.gone(5'000)) << testing::PrintToString(process.command());
  }
  return {code, run.out(), run.err()};
}

// What makes a rank fail in that sum of a gradient since its process began, which no other ends without it.
// An update of a small network is one such sum: the seventh is not of sft, which has six.
std::string in_sum(const std::string& rank, int64_t number, const std::string& action) {
  return "ranks.sum@" + rank + ":" + std::to_string(number) + ":" + action;
}

Finished killed(const Workspace& workspace, const std::string& rank,
                const std::vector<std::string>& arguments) {
  Sluice run(workspace, arguments, {{"SLUICE_FAIL", in_sum(rank, 7, "kill")}});
  return end_of(workspace, run, kLongMs + kFaultMs);
}

TEST(RanksRun, KeepTheLawAndAreAuditedAndReplayed) {
  const auto& workspace = undisturbed();
  for (const auto& line : workspace.metrics()) {
    EXPECT_EQ(line.at("ranks"), 2.0);
    if (line.at("stage") == "grpo") {
      EXPECT_TRUE(law_closes(line, "law/")) << line;
    }
  }
  const auto audit = sluice(workspace, {"audit", "runs/tiny"});
  EXPECT_EQ(audit.code, 0) << audit.out << audit.err;
  for (const char* step : {"4", "24"}) {  // of sft, of grpo
    const auto replay = sluice(workspace, {"replay", "runs/tiny", "--step", step});
    EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
  }
}

TEST(RanksRun, TheTimeOfAStepIsTheSumOfItsParts) {
  expect_steps_sum_to_the_time(undisturbed(), "sft", {"batch", "train", "all_reduce_wait"});
  expect_steps_sum_to_the_time(undisturbed(), "grpo",
                               {"wait", "batch", "train", "all_reduce_wait", "record", "publish", "report"});
}

TEST(RanksRun, ATraceShowsWhatEveryRankDidInAStep) {
  const auto traced = traced_by_process(undisturbed());
  for (const char* rank : {"learner-0", "learner-1"}) {
    EXPECT_TRUE(traced.at(std::string("sft ") + rank).contains("step 3")) << rank;
    for (const char* name : {"step 3", "wait", "batch", "train", "reference"}) {
      EXPECT_TRUE(traced.at(std::string("grpo ") + rank).contains(name)) << rank << ' ' << name;
    }
  }
}

TEST(RanksRun, EndInTheSameWeightsEachTimeAndBeginLikeOne) {
  const Workspace again, one;
  const auto run = sluice(again, on_ranks(2));
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_EQ(weights_of(again), weights_of(undisturbed()));

  const auto alone = sluice(one, kRun);
  ASSERT_EQ(alone.code, 0) << alone.out << alone.err;
  const auto steps = undisturbed().metrics(), of_one = one.metrics();
  for (size_t i = 0; i < 6; ++i) {  // the same examples: those of sft do not depend on the weights
    for (const char* name : {"loss", "grad_norm", "entropy"}) {
      EXPECT_NEAR(steps[i].at(name).get<double>(), of_one[i].at(name).get<double>(), 1e-4) << name;
    }
  }
}

TEST(RanksRun, SharedMomentsEndInTheSameWeights) {
  const Workspace workspace;
  const auto run = sluice(workspace, on_ranks(2, {"optim.shard=moments"}));
  ASSERT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_EQ(weights_of(workspace), weights_of(undisturbed()));
  const auto state = fs::path("checkpoints") / "latest" / "state" / "optimizer.safetensors";
  EXPECT_EQ(sha256_file(workspace.run() / state), sha256_file(undisturbed().run() / state));
}

// Of a stage whose reference stays, as no rank has all of the policy to mix into it.
class UnmixedWorkspace : public Workspace {
 public:
  UnmixedWorkspace() {
    auto recipe = read_file(*this / "recipe.toml");
    const std::string mix = ", mix_every = 3, mix_alpha = 0.5";
    recipe.erase(recipe.find(mix), mix.size());
    write_file_atomically(*this / "recipe.toml", recipe);
  }
};

TEST(ShardedRanksRun, EndInTheSameWeightsEachTimeAndBeginLikeOthers) {
  const UnmixedWorkspace workspace, again;
  for (const auto* each : {&workspace, &again}) {
    const auto run = sluice(*each, on_ranks(2, {"optim.shard=weights"}));
    ASSERT_EQ(run.code, 0) << run.out << run.err;
    EXPECT_EQ(run.err, "");
  }
  EXPECT_EQ(weights_of(workspace), weights_of(again));
  const auto steps = workspace.metrics(), of_others = undisturbed().metrics();
  for (size_t i = 0; i < 6; ++i) {
    for (const char* name : {"loss", "grad_norm", "entropy"}) {
      EXPECT_NEAR(steps[i].at(name).get<double>(), of_others[i].at(name).get<double>(), 1e-4) << name;
    }
  }
  for (const auto& line : steps) {
    if (line.at("stage") == "grpo") {
      EXPECT_TRUE(law_closes(line, "law/")) << line;
    }
  }
  const auto audit = sluice(workspace, {"audit", "runs/tiny"});
  EXPECT_EQ(audit.code, 0) << audit.out << audit.err;
  const auto replay = sluice(workspace, {"replay", "runs/tiny", "--step", "24"});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
}

// Where it is to give a block's weights or to take them, of which a step has several.
TEST(ShardedRanksRun, AKilledRankIsNamedAndOthersGoOn) {
  const UnmixedWorkspace workspace;
  Sluice doomed(workspace, on_ranks(2, {"optim.shard=weights"}),
                {{"SLUICE_FAIL", "ranks.broadcast@1:40:kill"}});
  const auto run = end_of(workspace, doomed, kLongMs + kFaultMs);
  EXPECT_EQ(run.code, 1) << run.out << run.err;
  EXPECT_THAT(run.err, HasSubstr("rank 1 of the learner of stage sft ended (killed by SIGKILL)"));
  EXPECT_THAT(run.err, HasSubstr("rank 1 went away"));
  sluice_until(workspace, on_ranks(1, {"optim.shard=none", "--resume"}), "grpo", 11, SIGTERM);
  const auto resumed = sluice(workspace, on_ranks(4, {"optim.shard=weights", "--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_EQ(workspace.metrics().back().at("ranks"), 4.0);
  const auto audit = sluice(workspace, {"audit", "runs/tiny"});
  EXPECT_EQ(audit.code, 0) << audit.out << audit.err;
}

TEST(RanksRun, AKilledRankIsNamedAndTheRunGoesOnToTheSameWeights) {
  const Workspace workspace;
  for (const auto* rank : {"1", "0"}) {
    auto arguments = on_ranks(2);
    if (fs::exists(workspace.run())) arguments.push_back("--resume");
    const auto run = killed(workspace, rank, arguments);
    EXPECT_EQ(run.code, 1) << run.out << run.err;
    EXPECT_THAT(run.err, HasSubstr("the learner of stage grpo was killed by SIGKILL"));
    EXPECT_THAT(run.err, HasSubstr("--resume"));
    if (*rank == '0') {
      EXPECT_THAT(read_file(workspace.run() / "logs" / "learner-1.log"), HasSubstr("rank 0 went away"));
      continue;
    }
    EXPECT_THAT(run.err, HasSubstr("rank 1 of the learner of stage grpo ended (killed by SIGKILL)"));
    EXPECT_THAT(run.err, HasSubstr("rank 1 went away"));
  }
  const auto resumed = sluice(workspace, on_ranks(2, {"--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_EQ(weights_of(workspace), weights_of(undisturbed()));
}

// Wherever it is just then. The run has so many steps left that it does not end before.
TEST(RanksRun, ARankThatIsKilledFromOutsideIsNamed) {
  const Workspace workspace;
  Sluice run(workspace, on_ranks(2, {"grpo.steps=100000", "checkpoint.every=1000"}));
  ASSERT_TRUE(run.wait_for_step("grpo", 3)) << run.out() << run.err();
  const auto family = run.descendants();
  const auto* rank = rank_of(family, "1");
  ASSERT_NE(rank, nullptr) << run.out() << run.err();
  rank->signal(SIGKILL);
  const auto ended = end_of(workspace, run, kFaultMs);
  EXPECT_EQ(ended.code, 1) << ended.out << ended.err;
  EXPECT_THAT(ended.err, HasSubstr("rank 1 of the learner of stage grpo ended (killed by SIGKILL)"));
  EXPECT_THAT(ended.err, HasSubstr("rank 1 went away"));
}

// Runs with a rank that does not come, or comes late. Most of each is waiting, so they wait side by side; one
// after the other they begin, so that no rank of theirs is late to the first meeting.
class RanksThatWait : public testing::Test {
 protected:
  struct Waiting {
    explicit Waiting(const std::vector<std::string>& more, const std::string& fault = "")
        : run(workspace, on_ranks(2, more), {{"SLUICE_FAIL", fault}}) {
      EXPECT_TRUE(run.wait_for_step("sft", 1)) << run.out() << run.err();
    }

    // Of a rank that fails in the step behind it.
    void wait_for_fault(const std::string& stage, int64_t step) {
      EXPECT_TRUE(run.wait_for_step(stage, step)) << run.out() << run.err();
      fault_at = clock.now_ms();
    }

    // What the other rank says.
    void expect_end(const std::string& words) {
      const auto ended = end_of(workspace, run, kFaultMs - (clock.now_ms() - fault_at));
      EXPECT_EQ(ended.code, 1) << ended.out << ended.err;
      EXPECT_THAT(ended.err, HasSubstr(words));
    }

    const SteadyClock clock;
    const Workspace workspace;
    Sluice run;
    Millis fault_at = clock.now_ms();
  };

  // Each process of a run comes to the place of a checkpoint; rank 0 alone writes, the second time behind
  // some steps.
  struct All {
    All() {
      in_checkpoint.wait_for_fault("sft", 4);
      without_one.wait_for_fault("grpo", 6);
      without_zero.wait_for_fault("grpo", 6);
    }
    Waiting slow{{"learner.rank_timeout_s=7", "grpo.steps=1"}, "checkpoint.after_write:2:slow"};
    Waiting in_checkpoint{{"learner.rank_timeout_s=5"}, "checkpoint.after_write:2:stop"};
    Waiting without_one{kHasty, in_sum("1", 7, "stop")}, without_zero{kHasty, in_sum("0", 7, "stop")};
  };
  static All& all() {
    static All runs;
    return runs;
  }
};

TEST_F(RanksThatWait, NameARankThatIsStopped) {
  all().without_one.expect_end("rank 1 did not come within 5000 ms");
}

TEST_F(RanksThatWait, NameARankZeroThatIsStopped) {
  all().without_zero.expect_end("rank 0 did not come within 5000 ms");
}

TEST_F(RanksThatWait, NameARankZeroThatIsStoppedInACheckpoint) {
  all().in_checkpoint.expect_end("rank 1 of 2 waited for rank 0, which gave no sign of life for 5000 ms");
}

TEST_F(RanksThatWait, AreNotLateWhereACheckpointTakesLongerThanASum) {
  auto& run = all().slow.run;
  EXPECT_EQ(run.exit_code(), 0) << run.out() << run.err();
  const auto steps = all().slow.workspace.metrics();
  ASSERT_EQ(steps.size(), 7u);
  EXPECT_GT(steps[5].at("wall_time").get<double>() - steps[0].at("wall_time").get<double>(), 8.0);
}

TEST(RanksRun, GoesOnWithAnotherNumberOfRanks) {
  const Workspace workspace;
  sluice_until(workspace, on_ranks(2, {"optim.shard=moments"}), "grpo", 7, SIGTERM);
  const auto resumed = sluice(workspace, on_ranks(3, {"optim.shard=moments", "--resume"}));
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_THAT(resumed.out, HasSubstr("this environment is another: ranks is"));
  EXPECT_EQ(workspace.metrics().back().at("ranks"), 3.0);
  const auto audit = sluice(workspace, {"audit", "runs/tiny"});
  EXPECT_EQ(audit.code, 0) << audit.out << audit.err;
  const auto replay = sluice(workspace, {"replay", "runs/tiny", "--step", "26"});
  EXPECT_EQ(replay.code, 0) << replay.out << replay.err;
}

// As torchrun --no_python and srun start them: nothing but the environment says which rank a process is.
TEST(RanksLaunched, FindEachOtherByTheEnvironment) {
  for (const bool slurm : {false, true}) {
    const Workspace workspace;
    sluice_until(workspace, kRun, "sft", 2, SIGTERM);
    const std::string port = std::to_string(free_port());
    const auto rank = [&](const char* number) {
      std::map<std::string, std::string> environment{{"MASTER_PORT", port}};
      environment[slurm ? "SLURM_PROCID" : "RANK"] = number;
      environment[slurm ? "SLURM_NTASKS" : "WORLD_SIZE"] = "2";
      if (!slurm) environment["MASTER_ADDR"] = "127.0.0.1";
      return environment;
    };
    const std::vector<std::string> learner = {"learner", "runs/tiny", "--stage", "sft"};
    Sluice first(workspace, learner, rank("0")), second(workspace, learner, rank("1"));
    EXPECT_EQ(first.exit_code(), 0) << first.out() << first.err();
    EXPECT_EQ(second.exit_code(), 0) << second.out() << second.err();
    EXPECT_EQ(second.out(), "");
    EXPECT_EQ(workspace.metrics().back().at("ranks"), 2.0);
    EXPECT_TRUE(fs::exists(workspace.run() / "stages" / "sft.json"));
  }
}

// Rank 0 has what they meet at: it stops with it.
TEST(RanksLaunched, ARankZeroStoppedInACheckpointIsNamedByTheOther) {
  const Workspace workspace;
  sluice_until(workspace, {"run", "recipe.toml", "learner.rank_timeout_s=5"}, "sft", 2, SIGTERM);
  const auto port = std::to_string(free_port());
  const auto environment = [&](const char* rank, const char* fail) {
    return std::map<std::string, std::string>{{"MASTER_ADDR", "127.0.0.1"},
                                              {"MASTER_PORT", port},
                                              {"RANK", rank},
                                              {"WORLD_SIZE", "2"},
                                              {"SLUICE_FAIL", fail}};
  };
  const std::vector<std::string> learner = {"learner", "runs/tiny", "--stage", "sft"};
  Sluice first(workspace, learner, environment("0", "checkpoint.after_write:1:stop")),
      second(workspace, learner, environment("1", ""));
  EXPECT_EQ(second.exit_code(kFaultMs), 1) << second.out() << second.err();
  EXPECT_THAT(second.err(), HasSubstr("rank 0"));
  EXPECT_THAT(second.err(), HasSubstr("within 5000 ms"));
  first.process().signal(SIGKILL);
}

}  // namespace
}  // namespace sluice::app
