// A run whose reward is somebody's own, in each way that there is, ends in the weights of the run with the
// built-in scorer that says the same; and its workers end with it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>

#include "base/files.h"
#include "rewards/reward.h"
#include "tests/app/reply_server.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecipe = R"(name = "tiny"
seed = 3
model = { hidden_size = 32, layers = 2, heads = 2, intermediate_size = 64, max_position = 64 }
tokenizer = { train = "characters" }
data = { path = "train.jsonl" }
rollout = { prompts_per_step = 4, group_size = 8, max_new_tokens = 4 }
evaluation = { prompts = 4 }
monitor = { redis = "off" }

[[stages]]
use = "sft"
steps = 20
batch = { examples_per_step = 16 }
optim = { lr = 3e-3 }

[[stages]]
use = "grpo"
steps = 8
optim = { lr = 1e-3 }
)";

constexpr const char* kPython = R"(
def same(completions, answer, **columns):
    return [float(c.strip() == a) for c, a in zip(completions, answer)]
)";

constexpr const char* kSlowly = R"(
def slowly(completions, **columns):
    time.sleep(0.01)
    return same(completions, **columns)
)";

constexpr const char* kProgram = R"(#!/usr/bin/env python3
import json, sys
print(json.dumps({"sluice_reward": 1, "name": "same"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    scores = [float(s["completion"].strip() == s["columns"]["answer"]) for s in request["samples"]]
    print(json.dumps({"id": request["id"], "scores": scores}), flush=True)
)";

// As a server of rewards and as a judge.
constexpr const char* kServer = R"(
def answer(path, asked):
    if path.endswith("/chat/completions"):
        user = asked["messages"][1]["content"]
        right = user.split("The right answer:\n")[1].split("\n")[0]
        said = user.rsplit("\n<<", 1)[0].split(">>\n", 1)[1].strip()
        said = "Score: " + ("10" if said == right else "0")
        return {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}
    return {"rewards": [float(s.strip() == l) for s, l in zip(asked["solution_str"], asked["labels"])]}
)";

constexpr const char* kLibrary = R"(
#include <sluice_reward.h>
#include <signal.h>
#include <string.h>
static int is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static int score(void* state, const sluice_sample* const* samples, size_t count, double* scores, char* problem,
                 size_t problem_size) {
  for (size_t i = 0; i < count; ++i) {
    sluice_text said = samples[i]->completion;
    while (said.size > 0 && is_space(said.bytes[0])) ++said.bytes, --said.size;
    while (said.size > 0 && is_space(said.bytes[said.size - 1])) --said.size;
    if (said.size == 3 && memcmp(said.bytes, "die", 3) == 0) raise(SIGSEGV);
    if (said.size == 4 && memcmp(said.bytes, "fail", 4) == 0) return strncpy(problem, "cannot", problem_size), 1;
    if (said.size == 4 && memcmp(said.bytes, "none", 4) == 0) continue;
    for (size_t k = 0; k < samples[i]->num_columns; ++k) {
      const sluice_text name = samples[i]->column_names[k], value = samples[i]->column_values[k];
      if (name.size == 6 && memcmp(name.bytes, "answer", 6) == 0)
        scores[i] = value.size == said.size && memcmp(value.bytes, said.bytes, said.size) == 0;
    }
  }
  return 0;
}
const sluice_reward* sluice_reward_v1(void) {
  static const sluice_reward reward = {.size = sizeof(sluice_reward), .name = "same", .score = score};
  return &reward;
}
)";

// A workspace with a task of one digit and a reward of every kind.
class Own {
 public:
  Own() {
    std::string rows;
    for (int a = 0; a < 10; ++a) {
      for (int b = 0; a + b < 10; ++b) {
        const auto prompt = std::to_string(a) + "+" + std::to_string(b) + "=";
        const auto answer = std::to_string(a + b);
        rows += Json({{"prompt", prompt}, {"completion", answer}, {"answer", answer}}).dump() + "\n";
      }
    }
    write_plain(workspace / "train.jsonl", rows);
    write_plain(workspace / "recipe.toml", kRecipe);
    write_plain(workspace / "my.py", kPython);
    write_plain(workspace / "judge", kProgram);
    fs::permissions(workspace / "judge", fs::perms::owner_all);
    write_plain(workspace / "r.c", kLibrary);
  }

  void build_library() const {
    auto compiler = Subprocess::start({.command = {"cc", "-std=c11", "-Wall", "-Werror", "-shared", "-fPIC",
                                                   "-I", SLUICE_SOURCE_DIR "/include", "r.c", "-o", "r.so"},
                                       .working_directory = workspace / ""});
    const auto status = compiler.wait(kLongMs);
    ASSERT_TRUE(status && status->ok());
  }

  const Workspace workspace;
};

struct Ended {
  std::string weights;
  std::vector<Json> rewards;  // step by step
};

Ended ended(const Workspace& workspace) {
  Ended end{read_json(workspace.run() / "stages" / "grpo.json").at("weights_sha256"), {}};
  for (const auto& line : workspace.metrics()) {
    if (line.contains("reward")) end.rewards.push_back(line.at("reward"));
  }
  return end;
}

Ended run_with(const Own& own, const std::string& reward) {
  const auto run = sluice(own.workspace, {"run", "recipe.toml", "rewards=[" + reward + "]"});
  EXPECT_EQ(run.code, 0) << run.out << run.err;
  EXPECT_EQ(run.err, "");
  return ended(own.workspace);
}

const Ended& built_in() {
  static const Ended end = run_with(Own(), "{ use = \"exact_answer\" }");
  return end;
}

void expect_the_same(const Ended& end) {
  EXPECT_EQ(end.weights, built_in().weights);
  EXPECT_EQ(end.rewards, built_in().rewards);
  EXPECT_EQ(end.rewards.size(), 8u);
  EXPECT_TRUE(std::ranges::any_of(end.rewards, [](const Json& reward) { return reward > 0.0; }));
}

TEST(RewardPlugins, APythonFunctionEndsInTheWeightsOfTheBuiltIn) {
  expect_the_same(run_with(Own(), "{ python = \"my.py:same\", workers = 2 }"));
}

TEST(RewardPlugins, AProgramEndsInTheWeightsOfTheBuiltIn) {
  expect_the_same(run_with(Own(), "{ command = \"./judge\" }"));
}

TEST(RewardPlugins, ALibraryEndsInTheWeightsOfTheBuiltIn) {
  const Own own;
  own.build_library();
  expect_the_same(run_with(own, "{ library = \"r.so\" }"));
}

TEST(RewardPlugins, AServerEndsInTheWeightsOfTheBuiltIn) {
  const Own own;
  const ReplyServer served(own.workspace, kServer);
  expect_the_same(run_with(own, "{ http = \"" + served.url + "/score\" }"));
}

TEST(RewardPlugins, AJudgeEndsInTheWeightsOfTheBuiltIn) {
  const Own own;
  const ReplyServer served(own.workspace, kServer);
  expect_the_same(run_with(
      own, "{ judge = \"" + served.url + "/v1\", model = \"judge\", rubric = \"Is it the right answer?\" }"));
}

TEST(RewardPlugins, AKilledRunTakesItsWorkersWithItAndGoesOn) {
  const Own own;
  write_plain(own.workspace / "my.py", "import time\n" + std::string(kPython) + kSlowly);
  const std::vector<std::string> command = {"run", "recipe.toml", "--resume", "checkpoint.every=2",
                                            "rewards=[{ python = \"my.py:slowly\" }]"};
  std::vector<Stranger> workers;
  {
    Sluice run(own.workspace, command);
    ASSERT_TRUE(run.wait_for_step("grpo", 3)) << run.out() << run.err();
    for (auto& process : run.descendants()) {
      if (process.runs((own.workspace / "my.py").string())) workers.push_back(std::move(process));
    }
    run.process().signal(SIGKILL);
    ASSERT_EQ(run.exit_code(), 128 + SIGKILL);
  }
  EXPECT_FALSE(workers.empty());
  for (const auto& worker : workers) EXPECT_TRUE(worker.gone(5'000));

  const auto resumed = sluice(own.workspace, command);
  ASSERT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_EQ(ended(own.workspace).weights, built_in().weights);
}

// Each of the ways in which it breaks, for some of the prompts.
constexpr const char* kBreaks = R"(
import math, os, time
def breaks(prompts, completions, answer, **columns):
    a, b = prompts[0][0], prompts[0][2]
    if b == "0":
        if a == "0": os.abort()
        if a == "1": time.sleep(1000)
        if a == "2": return [math.nan] * len(completions)
        if a == "3": raise ValueError("no")
        if a == "4": return []
        if a == "5": os._exit(3)
        if a == "6": return ["text"] * len(completions)
        if os.fork() == 0: time.sleep(1000)
        os._exit(4)
    return [float(c.strip() == a) for c, a in zip(completions, answer)]
)";

TEST(RewardPlugins, ARunGoesOnWhateverItsPlugInDoes) {
  const Own own;
  write_plain(own.workspace / "my.py", kBreaks);
  const auto run =
      sluice(own.workspace, {"run", "recipe.toml", "rollout.group_size=2",
                             "rewards=[{ python = \"my.py:breaks\", timeout_ms = 500, retries = 0 }]"});
  ASSERT_EQ(run.code, 0) << run.out << run.err;

  const Json last = own.workspace.metrics().back();
  EXPECT_EQ(last.at("stage_step"), 8);
  EXPECT_EQ(last.at("law/trained"), 32.0 - last.at("law/quarantined").get<double>());
  std::set<std::string> kinds;
  for (const auto& file : fs::directory_iterator(own.workspace.run() / "quarantine" / "grpo")) {
    const std::string text = read_file(file);
    for (const char* kind : {"crash: ", "timeout: ", "bad output: ", "error: "}) {
      if (text.find(kind) != std::string::npos) kinds.insert(kind);
    }
  }
  EXPECT_GE(kinds.size(), 2u) << testing::PrintToString(kinds);
}

TEST(RewardPlugins, ABrokenOneIsRefusedBeforeThereIsARun) {
  const Own own;
  const auto run = sluice(own.workspace, {"run", "recipe.toml", "rewards=[{ python = \"my.py:some\" }]"});
  EXPECT_EQ(run.code, 2);
  EXPECT_THAT(run.err, testing::HasSubstr("my.py has no function some; it has: same"));
  EXPECT_FALSE(fs::exists(own.workspace.run()));
}

// The worker of a library, as any other.
TEST(RewardPlugins, ALibraryThatDiesOrFailsLeavesItsGroupUnscored) {
  const Own own;
  own.build_library();
  rewards::RewardSpec spec;
  spec.use = "command";
  spec.options = {{"command", Json::array({SLUICE_BINARY, "reward-worker", "r.so"})},
                  {"folder", (own.workspace / "").string()},
                  {"retries", 0}};
  const auto reward = rewards::make_reward(spec, {});
  text::Row row;
  row.columns = {{"answer", "2"}};
  const auto reason = [&](const std::string& completion) {
    rewards::RewardRequest request;
    request.row = &row;
    request.completion = completion;
    const auto outcome = reward->score({&request, 1}).at(0);
    return outcome.score ? std::to_string(*outcome.score) : outcome.unscored_reason;
  };

  EXPECT_EQ(reason("2"), "1.000000");
  EXPECT_EQ(reason("die"), "crash: killed by SIGSEGV");
  EXPECT_EQ(reason("fail"), "error: cannot");
  EXPECT_EQ(reason("none"), "the worker gave no score");
  EXPECT_EQ(reason("3"), "0.000000");
}

}  // namespace
}  // namespace sluice::app
