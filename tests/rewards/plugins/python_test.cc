#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <set>

#include "base/error.h"
#include "rewards/sandbox.h"
#include "tests/rewards/plugins/plugin_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// TRL's: the example of its documentation, in short.
constexpr const char* kTrl = R"(
def reward(prompts, completions, answer, **kwargs):
    print("somebody prints", len(kwargs["completion_ids"]))
    return [None if a is None else float(c.strip() == a) for c, a in zip(completions, answer)]
)";

// verl's.
constexpr const char* kVerl = R"(
def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    right = solution_str == ground_truth
    return {"score": 2.0 * right, "acc": right, "from": data_source, "index": extra_info["index"]}
)";

TEST(PythonReward, CallsAFunctionOfTrlsWithListsOfTheColumns) {
  const PluginFolder folder;
  folder.write("my.py", kTrl);
  const auto reward = folder.make("python", "my.py:reward");
  Case from;
  from.row.prompt = "1+1=";
  from.row.columns = {{"prompt", "1+1="}, {"answer", "2"}, {"level", 3}};

  const auto outcomes = score_group(*reward, from, {"2", " 2\n", "3"});

  EXPECT_EQ(reward->name(), "reward");
  ASSERT_EQ(outcomes.size(), 3u);
  EXPECT_EQ(outcomes[0].score, 1.0);
  EXPECT_EQ(outcomes[1].score, 1.0);
  EXPECT_EQ(outcomes[2].score, 0.0);
}

TEST(PythonReward, NoneIsUnscored) {
  const PluginFolder folder;
  folder.write("my.py", kTrl);
  const auto reward = folder.make("python", "my.py:reward");
  Case from;
  from.row.columns = {{"answer", nullptr}};

  const auto outcome = score(*reward, from, "2");

  EXPECT_FALSE(outcome.score);
  EXPECT_EQ(outcome.unscored_reason, "the function gave None");
}

TEST(PythonReward, GivesMessagesWhereThePromptIsAConversation) {
  const PluginFolder folder;
  folder.write("my.py", R"(
async def reward(prompts, completions, **columns):
    return [len(p) + (c[0]["role"] == "assistant") * len(c[0]["content"]) for p, c in zip(prompts, completions)]
)");
  const auto reward = folder.make("python", "my.py:reward");
  Case from;
  from.row.messages =
      Json::parse(R"([{"role": "system", "content": "x"}, {"role": "user", "content": "y"}])");

  EXPECT_EQ(score(*reward, from, "four").score, 2.0 + 4.0);
}

TEST(PythonReward, CallsAFunctionOfVerlsForEachSampleAndKeepsItsNumbersAsParts) {
  const PluginFolder folder;
  folder.write("my.py", kVerl);
  const auto reward = folder.make("python", "my.py:compute_score");
  Case from;
  from.row.columns = Json::parse(
      R"({"data_source": "gsm8k", "reward_model": {"style": "rule", "ground_truth": "72"}, "extra_info": {"index": 5}})");

  const auto outcomes = score_group(*reward, from, {"72", "7"});

  EXPECT_EQ(outcomes[0].score, 2.0);
  EXPECT_EQ(outcomes[0].parts, (std::map<std::string, double>{{"acc", 1.0}, {"score", 2.0}, {"index", 5.0}}));
  EXPECT_EQ(outcomes[1].score, 0.0);
}

TEST(PythonReward, OneSampleThatRaisesInVerlsLeavesTheOthersTheirScores) {
  const PluginFolder folder;
  folder.write("my.py", R"(
def compute_score(data_source, solution_str, ground_truth):
    return 1.0 / int(solution_str)
)");
  const auto reward = folder.make("python", "my.py:compute_score");

  const auto outcomes = score_group(*reward, {}, {"2", "0", "4"});

  EXPECT_EQ(outcomes[0].score, 0.5);
  EXPECT_EQ(outcomes[1].unscored_reason, "error: ZeroDivisionError: float division by zero");
  EXPECT_EQ(outcomes[2].score, 0.25);
}

TEST(PythonReward, TakesTheSignatureThatIsNamed) {
  const PluginFolder folder;
  folder.write("my.py", "def f(**everything):\n    return [len(everything['completions'])] * 2\n");

  EXPECT_THAT(message_of<UsageError>([&] { folder.make("python", "my.py:f"); }),
              HasSubstr("has neither TRL's parameter completions nor verl's solution_str"));
  const auto reward = folder.make("python", "my.py:f", {{"signature", "trl"}});
  EXPECT_EQ(score_group(*reward, {}, {"a", "b"})[0].score, 2.0);
}

TEST(PythonReward, ImportsWhatLiesBesideItAndRunsInItsFolder) {
  const PluginFolder folder;
  folder.write("helper.py", "WORTH = 3\n");
  folder.write("worth.txt", "4");
  folder.write("json.py", R"(
import helper
def reward(completions, **columns):
    return [helper.WORTH + float(open("worth.txt").read())] * len(completions)
)");
  const auto reward = folder.make("python", "json.py:reward");

  EXPECT_EQ(score(*reward, {}, "x").score, 7.0);
}

TEST(PythonReward, TextThatIsNoUtf8ComesAsReplacementCharacters) {
  const PluginFolder folder;
  folder.write("my.py",
               "def f(completions, **columns):\n    return [c.count('\\ufffd') for c in completions]\n");
  const auto reward = folder.make("python", "my.py:f");

  EXPECT_EQ(score(*reward, {}, "a\xff\xfe").score, 2.0);
}

TEST(PythonReward, MistakesOfTheRecipeAreSaidBeforeAnythingIsScored) {
  const PluginFolder folder;
  folder.write("my.py", "import no_such_module_here\n");
  folder.write("good.py", kTrl);
  const auto refusal = [&](const Json& what, const Json& options = Json::object()) {
    return message_of<UsageError>([&] { folder.make("python", what, options); });
  };

  EXPECT_THAT(refusal("none.py:reward"), StartsWith("recipe.toml:7:3: reward \"python\": there is no file "));
  EXPECT_THAT(refusal("my.py"),
              HasSubstr("python wants a file and a function of it, \"my.py:reward\", saw \"my.py\""));
  EXPECT_THAT(refusal("my.py:reward"),
              HasSubstr("ModuleNotFoundError: No module named 'no_such_module_here'"));
  EXPECT_THAT(refusal("good.py:rewrd"), HasSubstr("has no function rewrd; it has: reward"));
  EXPECT_THAT(refusal("good.py:reward", {{"signature", "TRL"}}),
              HasSubstr("signature is \"TRL\"; there are trl and verl"));
  EXPECT_THAT(refusal("good.py:reward", {{"workers", 0}}), HasSubstr("workers is 0; it goes from 1 to 256"));
  EXPECT_THAT(refusal("good.py:reward", {{"scope", "batch"}}),
              HasSubstr("scope is \"batch\"; there are sample and group"));
  EXPECT_THAT(refusal("good.py:reward", {{"scope", "group"}, {"workers", 2}}), HasSubstr("leave one out"));
  EXPECT_TRUE(folder.comes_to(0));
}

TEST(PythonReward, SeveralWorkersShareAGroupOut) {
  const PluginFolder folder;
  folder.write("my.py", R"(
import os
def f(completions, **columns):
    return [os.getpid() * 100 + len(completions)] * len(completions)
)");
  const auto reward = folder.make("python", "my.py:f", {{"workers", 3}});

  const auto outcomes = score_group(*reward, {}, std::vector<std::string>(7, "x"));

  std::map<double, int> sizes;
  for (const auto& outcome : outcomes) ++sizes[*outcome.score];
  ASSERT_EQ(sizes.size(), 3u);
  for (const auto& [said, samples] : sizes) EXPECT_EQ(static_cast<int>(said) % 100, samples);  // 2, 2 and 3
  EXPECT_EQ(folder.num_processes(), 3);
}

TEST(PythonReward, CompletionsThatHaveEndedAreRequestsOfTheirOwnForAllWorkers) {
  const PluginFolder folder;
  folder.write("my.py", R"(
import os
def f(completions, **columns):
    assert completions != ["bad"]
    return [os.getpid() * 100 + len(completions)] * len(completions)
)");
  const auto reward = folder.make("python", "my.py:f", {{"workers", 3}});
  const Case from;
  std::vector<RewardRequest> requests(7, from.request("x"));
  requests[4] = from.request("bad");

  const auto outcomes = reward->score_each(requests);

  EXPECT_FALSE(reward->takes_whole_groups());
  std::set<double> workers;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (i == 4) {
      EXPECT_EQ(outcomes[i].unscored_reason, "error: AssertionError: ");
      continue;
    }
    EXPECT_EQ(static_cast<int64_t>(*outcomes[i].score) % 100, 1);  // one in each
    workers.insert(*outcomes[i].score);
  }
  EXPECT_EQ(workers.size(), 3u);
}

TEST(PythonReward, IsGivenUpWhenNobodyWantsItsAnswer) {
  const PluginFolder folder;
  folder.write("my.py", "import time\ndef f(completions, **columns):\n    time.sleep(1000)\n");
  const auto reward = folder.make("python", "my.py:f", {{"timeout_ms", 900'000}, {"retries", 10}});
  auto answer = std::async(std::launch::async, [&] { return score(*reward, {}, "x"); });
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);

  reward->interrupt();

  EXPECT_EQ(answer.get().unscored_reason, "interrupted: no reply is wanted any more");
}

TEST(PythonReward, AGroupOfTheirScopeIsOneRequest) {
  const PluginFolder folder;
  folder.write("my.py", "def f(completions, **columns):\n    return [len(completions)] * len(completions)\n");
  const auto reward = folder.make("python", "my.py:f", {{"scope", "group"}});

  EXPECT_EQ(score_group(*reward, {}, {"a", "b", "c"})[2].score, 3.0);
}

// Where the machine is idle it is more than 20,000.
TEST(PythonReward, AWorkerScoresThousandsOfSamplesASecond) {
  const PluginFolder folder;
  folder.write("my.py",
               "def f(completions, answer, **columns):\n"
               "    return [float(c == a) for c, a in zip(completions, answer)]\n");
  const auto reward = folder.make("python", "my.py:f", {{"timeout_ms", 30'000}});
  Case from;
  from.row.prompt = "1+1=";
  from.row.columns = {{"answer", "2"}};
  const std::vector<std::string> group(64, "2");
  constexpr int kGroups = 200;
  score_group(*reward, from, group);

  const SteadyClock clock;
  const Millis begin_ms = clock.now_ms();
  for (int i = 0; i < kGroups; ++i) ASSERT_EQ(score_group(*reward, from, group).back().score, 1.0);
  const double seconds = static_cast<double>(clock.now_ms() - begin_ms) / 1000.0;

  const double per_second = kGroups * static_cast<double>(group.size()) / seconds;
  std::cout << "python worker: " << per_second << " samples/s\n";
  EXPECT_GT(per_second, 2'000.0);
}

TEST(PythonReward, ItsProcessesEndWithIt) {
  const PluginFolder folder;
  folder.write("my.py", "import subprocess\nsubprocess.Popen(['sleep', '1000'])\n" + std::string(kTrl));
  auto reward = folder.make("python", "my.py:reward");
  EXPECT_TRUE(folder.comes_to(2));

  reward.reset();

  EXPECT_TRUE(folder.comes_to(0));
}

TEST(PythonReward, IsHeldToTheSandboxThatItsRecipeAsksFor) {
  if (sandbox_support().level < SandboxLevel::Namespaces) {
    GTEST_SKIP() << "this machine gives no namespaces: " << sandbox_support().why_not_more;
  }
  const PluginFolder folder;
  std::filesystem::permissions(folder / ".", std::filesystem::perms(0755));  // it is another user's in there
  folder.write("my.py", R"(
import socket

def write(completions, **columns):
    try:
        open(columns["path"][0], "w")
    except OSError:
        return [0.5] * len(completions)

def connect(completions, **columns):
    socket.socket()
    return [1.0] * len(completions)
)");
  Case from;
  from.row.columns = {{"path", (folder / "written").string()}};
  const Json sandbox = {{"sandbox", "namespaces"}};

  EXPECT_EQ(score(*folder.make("python", "my.py:write", sandbox), from, "x").score, 0.5);
  EXPECT_FALSE(std::filesystem::exists(folder / "written"));
  testing::internal::CaptureStderr();
  const auto reason = score(*folder.make("python", "my.py:connect", sandbox), from, "x").unscored_reason;
  EXPECT_EQ(reason, "denied: it made a system call that the sandbox denies");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              HasSubstr("a worker made a system call that the sandbox denies, and was killed for it"));
}

}  // namespace
}  // namespace sluice::rewards
