#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <future>

#include "base/error.h"
#include "rewards/sandbox.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

class CodeTests : public testing::Test {
 protected:
  void SetUp() override {
    if (sandbox_support().level < SandboxLevel::Namespaces) {
      GTEST_SKIP() << "this machine gives no namespaces: " << sandbox_support().why_not_more;
    }
  }

  // Of a program against tests; the scorer is made once for each set of options.
  RewardOutcome outcome(const std::string& tests, const std::string& program,
                        const std::string& options = R"({"timeout_s": 5})") {
    auto& reward = rewards_[options];
    if (reward == nullptr) reward = make_reward(spec("code_tests", options), {});
    Case row;
    row.row.columns["tests"] = Json::parse(tests);
    row.row.columns["setup"] = "import math\nclass Box:\n  pass";
    return rewards::score(*reward, row, program);
  }
  double score(const std::string& tests, const std::string& program,
               const std::string& options = R"({"timeout_s": 5})") {
    const auto out = outcome(tests, program, options);
    EXPECT_EQ(out.unscored_reason, "") << program;
    return out.score.value_or(-1.0);
  }

  std::map<std::string, std::unique_ptr<RewardFunction>> rewards_;
};

constexpr const char* kAdd = R"j(["assert add(1, 2) == 3", "assert add(0, 0) == 0"])j";
constexpr const char* kSum =
    R"j([{"input": "2 3\n", "output": "5\n"}, {"input": "1 1\n", "output": "2\n"}])j";

TEST_F(CodeTests, ScoreAProgramThatPassesAll) {
  EXPECT_EQ(score(kAdd, "So:\n```python\ndef add(a, b):\n    return a + b\n```\n"), 1.0);
  EXPECT_EQ(score(kAdd, "def add(a, b): return 3"), 0.0);
  EXPECT_EQ(score(kAdd, "def add(a, b) return a + b"), 0.0);
  EXPECT_EQ(score(kAdd, "def sub(a, b): return a - b"), 0.0);
  EXPECT_EQ(score(kAdd, ""), 0.0);
  EXPECT_EQ(score(kSum, "print(sum(map(int, input().split())))"), 1.0);
  EXPECT_EQ(score(kSum, "if __name__ == '__main__':\n  a, b = map(int, input().split())\n  print(a + b)"),
            1.0);
  EXPECT_EQ(score(kSum, "print(5)"), 0.0);
  EXPECT_EQ(score(kSum, "print(sum(map(int, input().split())))\nraise SystemExit(1)"), 0.0);
}

TEST_F(CodeTests, GiveTheShareWherePartIsAsked) {
  const std::string partial = R"({"timeout_s": 5, "partial": true})";
  EXPECT_EQ(score(kAdd, "def add(a, b): return 0", partial), 0.5);
  EXPECT_EQ(score(kSum, "print(2)", partial), 0.5);
  EXPECT_EQ(score(kAdd, "def add(a, b): return a + b", partial), 1.0);
}

TEST_F(CodeTests, CarryEveryPlainValueThroughTheWall) {
  EXPECT_EQ(
      score(
          R"py(["x = [None, True, 2 ** 100, 1.5, 1j, 'ä\\ud800', b'\\x00', (1,), {2}, {'k': {1: [3]}}]\nassert same(x) == x",
                       "assert type(same((1,))) is tuple and type(same({1})) is set",
                       "assert same(float('inf')) > 1 and same(float('nan')) != same(float('nan'))",
                       "assert same(range(3)) == [0, 1, 2] and same(int) is not None"])py",
          "def same(x): return x"),
      1.0);
}

TEST_F(CodeTests, KeepObjectsWhereTheyAre) {
  EXPECT_EQ(score(R"j(["s = Stack()\ns.push(3)\nassert s.top() == 3 and len(s) == 1 and list(s) == [3]",
                      "s = Stack()\ns.name = 'x'\nassert s.name == 'x' and describe(s) == 'x'",
                      "try:\n  Stack().top()\n  assert False\nexcept IndexError: pass"])j",
                  R"(
class Stack:
    def __init__(self): self.all = []
    def push(self, x): self.all.append(x)
    def top(self): return self.all[-1]
    def __len__(self): return len(self.all)
    def __iter__(self): return iter(self.all)
def describe(stack): return stack.name
)"),
            1.0);
}

TEST_F(CodeTests, TakeFunctionsNamedLikePythonsOwn) {
  EXPECT_EQ(score(R"j(["assert sum(10, 15) == 6"])j", "def sum(a, b): return 6"), 1.0);
  EXPECT_EQ(score(R"j(["assert math.isclose(half(3), 1.5)"])j", "def half(x): return x / 2"), 1.0);
  EXPECT_EQ(score(R"({"fn_name": "f", "inputs": [[1, [2]]], "outputs": [[1, 2]]})",
                  "class Solution:\n  def f(self, a, b): return (a, *b)"),
            1.0);
}

// Each would pass, were it believed.
TEST_F(CodeTests, AreNotFooled) {
  const char* const attacks[] = {
      // says so
      "print('pass')\nprint('2 passed')",
      "import os\nos.write(2, b'started\\npass\\npass\\n')\nos._exit(0)",
      "raise SystemExit(0)",
      "import os\nos._exit(0)",
      // is equal to everything
      "class Any:\n  __eq__ = lambda *_: True\n  __hash__ = lambda _: 0\ndef add(a, b): return Any()",
      "class Any(int):\n  __eq__ = lambda *_: True\ndef add(a, b): return Any(7)",
      "import unittest.mock\ndef add(a, b): return unittest.mock.ANY",
      // changes what compares
      "import builtins\nbuiltins.AssertionError = None\nbuiltins.compile = builtins.exec = print\ndef add(a, "
      "b): return 9",
      "def assert_(*_): pass\nset = sorted = abs = len = lambda *_: 3\ndef add(a, b): return 9",
      "import json\njson.dumps = lambda *_: '{\"value\": true}'\ndef add(a, b): return 9",
      "import sys, ast\nast.parse = sys.settrace = None\nsys.exit = lambda *_: None\ndef add(a, b): return 9",
      // ends the test early
      "def add(a, b): raise SystemExit(0)",
      "def add(a, b): raise StopIteration",
      "def add(a, b):\n  import os; os._exit(0)",
      "def add(a, b): raise AssertionError",
      "def add(a, b): raise KeyboardInterrupt",
      // writes to every descriptor there is
      "import os\ndef add(a, b):\n  for fd in range(64):\n    try: os.write(fd, b'pass\\npass\\n')\n    "
      "except OSError: pass\n"
      "  return 9",
      "import os\nfor fd in range(64):\n  try: os.write(fd, b'{\"value\": 3}\\n' * 9)\n  except OSError: "
      "pass\n"
      "def add(a, b): return 9",
      // looks for what is expected
      "import os, gc, sys\n"
      "def add(a, b):\n"
      "  for folder, _, files in os.walk('/proc/self/fd'):\n"
      "    for name in files:\n"
      "      if 'assert' in open(os.path.join(folder, name), errors='ignore').read(4096): return a + b\n"
      "  for o in gc.get_objects():\n"
      "    if isinstance(o, str) and 'assert add' in o: return a + b\n"
      "  frame = sys._getframe()\n"
      "  while frame:\n"
      "    if 'assert add' in repr(frame.f_locals): return a + b\n"
      "    frame = frame.f_back\n"
      "  return 9",
      "import os\n"
      "def add(a, b):\n"
      "  for pid in filter(str.isdigit, os.listdir('/proc')):\n"
      "    if b'add(1' in open(f'/proc/{pid}/cmdline', 'rb').read(): return a + b\n"
      "  return 9",
      // answers of no kind
      "import os\ndef add(a, b):\n  os.write(4, b'[' * 100000 + b'\\n')\n  return 9",
      "def add(a, b):\n  x = []\n  x.append(x)\n  return x",
      "def add(a, b): return 'x' * (64 << 20)",
  };
  auto reward = make_reward(spec("code_tests", R"({"timeout_s": 5})"), {});
  Case row;
  row.row.columns["tests"] = Json::parse(kAdd);
  std::vector<RewardRequest> group;
  for (const char* attack : attacks) group.push_back(row.request(attack));
  const auto outcomes = reward->score(group);
  for (size_t i = 0; i < group.size(); ++i) {
    EXPECT_EQ(outcomes[i].score, 0.0) << attacks[i] << outcomes[i].unscored_reason;
  }
}

TEST_F(CodeTests, AreNotFooledByALoopThatIsLeftEarly) {
  EXPECT_EQ(score(R"j(["assert all(map(good, [1, 2]))"])j", "def good(x): raise StopIteration"), 0.0);
  EXPECT_EQ(score(R"j(["assert set(two()) == {1, 2}"])j", "set = lambda _: 1\ndef two(): return [3]"), 0.0);
}

TEST_F(CodeTests, EndInTimeAndSayWhy) {
  const std::string quick = R"({"timeout_s": 0.7})";
  const auto hangs = outcome(kAdd, "def add(a, b):\n  while True: pass", quick);
  EXPECT_EQ(hangs.score, 0.0);
  EXPECT_EQ(hangs.parts.at("timed_out"), 1.0);
  EXPECT_EQ(outcome(kSum, "import time\ntime.sleep(1000)", quick).parts.at("timed_out"), 1.0);
  EXPECT_EQ(outcome(kAdd, "import os\nos.close(0)\nwhile True: os.fork()", quick).score, 0.0);

  const auto socket = "import _socket\n_socket.socket(2, 1, 0)";
  EXPECT_EQ(outcome(kSum, socket).parts.at("denied"), 1.0);
  EXPECT_EQ(outcome(kAdd, socket).parts.at("denied"), 1.0);
  EXPECT_EQ(outcome(kAdd, "x = bytearray(10 << 30)").score, 0.0);
  EXPECT_EQ(outcome(kSum, "while True: print('x' * 65536)").score, 0.0);
}

TEST_F(CodeTests, AreGivenUpWhenNobodyWantsTheirScore) {
  for (const auto& [tests, program] :
       {std::pair{kAdd, "def add(a, b):\n  while True: pass"}, {kSum, "import time\ntime.sleep(1000)"}}) {
    const auto reward = make_reward(spec("code_tests", R"({"timeout_s": 600})"), {});
    Case row;
    row.row.columns["tests"] = Json::parse(tests);
    const std::vector<RewardRequest> group(6, row.request(program));
    auto answer = std::async(std::launch::async, [&] { return reward->score(group); });
    EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(300)), std::future_status::timeout);

    reward->interrupt();

    ASSERT_EQ(answer.wait_for(std::chrono::seconds(20)), std::future_status::ready);
    for (const auto& outcome : answer.get()) EXPECT_THAT(outcome.unscored_reason, HasSubstr("interrupted"));
  }
}

TEST_F(CodeTests, ShareNothingBetweenSamples) {
  auto reward = make_reward(spec("code_tests", R"({"timeout_s": 5})"), {});
  Case row;
  row.row.columns["tests"] = Json::parse(R"j(["assert seen() == 0"])j");
  const auto request = row.request(
      "import os\ndef seen():\n  n = len(os.listdir('/tmp')) + len(os.listdir('/dev/shm'))\n"
      "  open('/tmp/note', 'w').close(); open('/dev/shm/note', 'w').close()\n  return n");
  const std::vector<RewardRequest> group(4, request);

  for (const auto& outcome : reward->score(group)) EXPECT_EQ(outcome.score, 1.0) << outcome.unscored_reason;
}

TEST_F(CodeTests, AreUnscoredWhereTheTestIsAtFault) {
  EXPECT_THAT(outcome("7", "").unscored_reason, HasSubstr("column \"tests\" is neither"));
  EXPECT_THAT(outcome(R"j(["assert f( == 1"])j", "f = 1").unscored_reason, HasSubstr("a test is no Python"));
  EXPECT_THAT(outcome(R"j(["assert f(object()) == 1"])j", "f = len").unscored_reason,
              HasSubstr("hands a object to the solution"));
  const std::string setup = R"({"timeout_s": 5, "setup": "setup"})";
  EXPECT_EQ(score(R"j(["assert f(Box is not None) == 1 and math.pi > 3"])j", "def f(x): return 1", setup),
            1.0);
  EXPECT_THAT(outcome(R"j(["assert f(Box())"])j", "def f(x): return 1", setup).unscored_reason,
              HasSubstr("hands a Box to the solution"));
}

TEST_F(CodeTests, RefuseWrongOptions) {
  const auto message = [](const std::string& options) {
    return message_of<UsageError>([&] { make_reward(spec("code_tests", options), {}); });
  };
  EXPECT_THAT(message(R"({"sandbox": "namespace"})"), HasSubstr("did you mean \"namespaces\"?"));
  EXPECT_THAT(message(R"({"timeout_s": 0})"), HasSubstr("timeout_s is from 0.1 to 600, saw 0"));
  EXPECT_THAT(message(R"({"memory_mb": 1})"), HasSubstr("memory_mb is from 64"));
  EXPECT_THAT(message_of<EnvironmentError>(
                  [] { make_reward(spec("code_tests", R"({"python": "/usr/bin/false"})"), {}); }),
              HasSubstr("does not run in the sandbox"));
}

}  // namespace
}  // namespace sluice::rewards
