// Plug-ins that break, each in its way, when they are to score "bad": the group is unscored with a reason,
// nothing of them is left, and the worker after it scores "good".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string_view>

#include "base/error.h"
#include "tests/rewards/plugins/plugin_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

struct Hostile {
  const char* name;
  const char* body;       // what it does to a request with "bad" in it
  const char* reason;     // a part of it
  bool survives = false;  // what is wrong is one answer, not the worker

  // Short where it is waited for to the end. A machine that is busy may need long for the others.
  int timeout_ms() const { return std::string_view(reason).starts_with("timeout") ? 1000 : 20'000; }
};

std::ostream& operator<<(std::ostream& out, const Hostile& hostile) { return out << hostile.name; }

void expect_unscored_and_healed(const PluginFolder& folder, std::unique_ptr<RewardFunction> reward,
                                const Hostile& hostile) {
  ASSERT_EQ(score(*reward, {}, "good").score, 1.0);
  const auto outcomes = score_group(*reward, {}, {"bad", "bad"});
  ASSERT_EQ(outcomes.size(), 2u);
  for (const auto& outcome : outcomes) {
    EXPECT_FALSE(outcome.score);
    EXPECT_THAT(outcome.unscored_reason, HasSubstr(hostile.reason));
  }
  EXPECT_TRUE(folder.comes_to(hostile.survives ? 1 : 0)) << folder.num_processes() << " processes";
  EXPECT_EQ(score(*reward, {}, "good").score, 1.0);
  EXPECT_EQ(folder.num_processes(), 1);
  reward.reset();
  EXPECT_TRUE(folder.comes_to(0)) << folder.num_processes() << " processes";
}

std::string indented(const std::string& body, const std::string& indent) {
  std::istringstream in(body);
  std::string out;
  for (std::string line; std::getline(in, line);) out += indent + line + "\n";
  return out;
}

constexpr Hostile kInPython[] = {
    {"Hangs", "time.sleep(1000)", "timeout: no reply within 1000 ms"},
    {"HangsAndIgnoresSigterm", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
     "timeout: no reply within 1000 ms"},
    {"Spins", "while True: pass", "timeout: "},
    {"NeverEndsItsList", "return itertools.repeat(1.0)", "bad output: 3 scores for 2 samples", true},
    {"Segfaults", "import ctypes\nctypes.string_at(0)", "crash: killed by SIGSEGV"},
    {"Aborts", "os.abort()", "crash: killed by SIGABRT"},
    {"KillsItself", "os.kill(os.getpid(), signal.SIGKILL)", "crash: killed by SIGKILL"},
    {"Exits", "os._exit(0)", "crash: exit 0"},
    {"ExitsWithWords", "sys.exit('this is the end')", "crash: exit 1 (its last words: this is the end)"},
    {"LeavesProcesses", "for i in range(6): os.fork()\ntime.sleep(1000)", "timeout: "},
    {"ForksUntilItIsStopped", "for i in range(600):\n  if os.fork() == 0: time.sleep(1000)\ntime.sleep(1000)",
     "crash: it became more than 512 processes"},
    {"LeavesAChildAndExits", "if os.fork() == 0: time.sleep(1000)\nos._exit(7)", "crash: exit 7"},
    {"LeavesASessionOfItsOwn",
     "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(1000)\n  os._exit(0)\nos._exit(7)",
     "crash: exit 7"},
    {"HangsInASessionOfItsOwn", "if os.fork() == 0: os.setsid()\ntime.sleep(1000)", "timeout: "},
    {"WantsTenGigabytes", "return [len(bytearray(10 << 30))]", "error: MemoryError", true},
    {"WantsEverMore", "x = []\nwhile True: x.append(bytearray(1 << 20))", "error: MemoryError", true},
    {"RecursesForEver", "def f(): f()\nf()", "error: RecursionError", true},
    {"Raises", "raise ValueError('no')", "error: ValueError: no", true},
    {"RaisesWithAnEndlessText", "raise ValueError('x' * (5 << 20))", "error: ValueError: xxx", true},
    {"GivesTooFew", "return [1.0]", "bad output: 1 scores for 2 samples", true},
    {"GivesTooMany", "return [1.0] * 3", "bad output: 3 scores for 2 samples", true},
    {"GivesNothing", "return None", "error: TypeError", true},
    {"GivesNaN", "return [math.nan] * 2", "bad output: the function gave nan", true},
    {"GivesInfinity", "return [math.inf] * 2", "bad output: the function gave inf", true},
    {"GivesText", "return ['1.0'] * 2", "bad output: the function gave the text '1.0'", true},
    {"GivesLists", "return [[1.0]] * 2", "bad output: the function gave a list", true},
    {"GivesALoneSurrogate", "raise ValueError('\\ud800')", "error: ValueError: ?", true},
    {"WritesGarbageIntoTheProtocol",
     "for fd in range(3, 20):\n  try: os.write(fd, b'\\xff\\xfe{\\n')\n  except OSError: pass",
     "bad output: "},
    {"ClosesEverything", "os.closerange(0, 100)", "crash: "},
    {"PrintsAHundredMegabytes", "for i in range(100): print('x' * (1 << 20))\nraise ValueError('done')",
     "error: ValueError: done", true},
};

class HostilePython : public testing::TestWithParam<Hostile> {};

TEST_P(HostilePython, IsUnscoredAndReplaced) {
  const PluginFolder folder;
  folder.write("my.py", std::string("import itertools, math, os, signal, sys, time\n"
                                    "def reward(completions, **columns):\n"
                                    "  if 'bad' in completions:\n") +
                            indented(GetParam().body, "    ") + "  return [1.0] * len(completions)\n");
  expect_unscored_and_healed(
      folder,
      folder.make("python", "my.py:reward", {{"timeout_ms", GetParam().timeout_ms()}, {"memory_mb", 256}}),
      GetParam());
}

INSTANTIATE_TEST_SUITE_P(PlugIns, HostilePython, testing::ValuesIn(kInPython),
                         [](const auto& info) { return std::string(info.param.name); });

// As a program that speaks the protocol itself: `request` is what was asked, `say` writes a line.
constexpr Hostile kPrograms[] = {
    {"HangsAndIgnoresSigterm", "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
     "timeout: no reply within 1000 ms"},
    {"Segfaults", "os.kill(os.getpid(), signal.SIGSEGV)", "crash: killed by SIGSEGV"},
    {"ForksUntilItIsStopped", "for i in range(600):\n  if os.fork() == 0: time.sleep(1000)\ntime.sleep(1000)",
     "crash: it became more than 512 processes"},
    {"WantsTenGigabytes", "bytearray(10 << 30)", "crash: exit 1 (its last words: MemoryError)"},
    {"GivesTooFew", "say('{\"id\": %d, \"scores\": [1]}' % id)", "bad output: 1 scores for 2 samples", true},
    {"GivesNoScores", "say('{\"id\": %d}' % id)", "bad output: there are no scores", true},
    {"GivesNaN", "say('{\"id\": %d, \"scores\": [NaN, NaN]}' % id)", "bad output: reply: not JSON at byte"},
    {"GivesInfinity", "say('{\"id\": %d, \"scores\": [Infinity, 1]}' % id)",
     "bad output: reply: not JSON at byte"},
    {"GivesANumberTooLarge", "say('{\"id\": %d, \"scores\": [1e999, 1]}' % id)",
     "bad output: reply: not JSON at byte"},
    {"GivesText", "say('{\"id\": %d, \"scores\": [\"1\", true]}' % id)",
     "bad output: a score is a number or null", true},
    {"GivesPartsOfText", "say('{\"id\": %d, \"scores\": [1, 1], \"parts\": [{\"a\": \"b\"}, 3]}' % id)",
     "bad output: ", true},
    {"MisspellsAKey", "say('{\"id\": %d, \"scores\": [1, 1], \"reason\": \"x\"}' % id)",
     "bad output: reply: there is no key \"reason\""},
    {"AnswersAnotherRequest", "say('{\"id\": %d, \"scores\": [1, 1]}' % (id - 1))",
     "bad output: reply: it is to request"},
    {"AnswersWithoutId", "say('{\"scores\": [1, 1]}')", "bad output: reply: \"id\" is missing"},
    {"AnswersWithAList", "say('[1, 1]')", "bad output: reply: "},
    {"SaysAKeyTwice", "say('{\"id\": %d, \"id\": %d, \"scores\": [1, 1]}' % (id, id))", "stands twice"},
    {"NestsWithoutEnd", "say('[' * 500000)", "bad output: reply: JSON nested deeper than"},
    {"WritesGarbage", "sys.stdout.buffer.write(b'\\xff\\x00\\xc0\\n')\nsys.stdout.flush()",
     "bad output: reply: not JSON"},
    {"WritesGarbageInText",
     "sys.stdout.buffer.write(b'{\"id\": 1, \"error\": \"\\xff\"}\\n')\nsys.stdout.flush()",
     "bad output: reply: not JSON"},
    {"WritesAnEmptyLine", "say('')", "bad output: reply: not JSON"},
    {"WritesTwoLines", "say('{\"id\": %d, \"scores\": [1, 1]}\\n{}' % id)",
     "bad output: more than one line as reply"},
    {"WritesAHundredMegabytes", "say('x' * (100 << 20))", "bad output: a reply of more than"},
    {"WritesForEver", "while True: os.write(1, b'y\\n' * 30000)", "bad output: more than one line as reply"},
    {"StopsInTheMiddleOfALine", "os.write(1, b'{\"id\"')\ntime.sleep(1000)", "timeout: "},
    {"EndsInTheMiddleOfALine", "os.write(1, b'{\"id\"')\nos._exit(3)", "crash: exit 3"},
    {"ClosesItsOutput", "os.close(1)\ntime.sleep(1000)", "bad output: closed its output"},
    {"SaysItCannot", "say('{\"id\": %d, \"error\": \"no idea\"}' % id)", "error: no idea", true},
};

class HostileProgram : public testing::TestWithParam<Hostile> {};

std::string program(const std::string& body) {
  return "#!/usr/bin/env python3\n"
         "import json, os, signal, sys, time\n"
         "def say(text): print(text, flush=True)\n"
         "say('{\"sluice_reward\": 1, \"name\": \"judge\"}')\n"
         "for line in sys.stdin:\n"
         "  request = json.loads(line)\n"
         "  id, samples = request['id'], request['samples']\n"
         "  if samples[0]['completion'] == 'bad':\n" +
         indented(body, "    ") + "    continue\n" +
         "  say(json.dumps({'id': id, 'scores': [1.0] * len(samples)}))\n";
}

TEST_P(HostileProgram, IsUnscoredAndReplaced) {
  const PluginFolder folder;
  folder.write_program("judge.py", program(GetParam().body));
  expect_unscored_and_healed(
      folder,
      folder.make("command", "./judge.py", {{"timeout_ms", GetParam().timeout_ms()}, {"memory_mb", 256}}),
      GetParam());
}

INSTANTIATE_TEST_SUITE_P(PlugIns, HostileProgram, testing::ValuesIn(kPrograms),
                         [](const auto& info) { return std::string(info.param.name); });

// What is wrong before the first request is a mistake in the recipe.
struct Unstarted {
  const char* name;
  const char* program;
  const char* reason;
};

constexpr Unstarted kUnstarted[] = {
    {"NeverSaysHello", "#!/bin/sh\nsleep 1000\n", "not started: timeout: no hello within 300 ms"},
    {"StartsSlowly", "#!/bin/sh\nsleep 3\necho '{\"sluice_reward\": 1, \"name\": \"x\"}'\ncat\n",
     "not started: timeout: no hello within 300 ms"},
    {"EndsAtOnce", "#!/bin/sh\necho out of luck >&2\nexit 3\n",
     "not started: crash: exit 3 (its last words: out of luck)"},
    {"SpeaksAnotherProtocol", "#!/bin/sh\necho '{\"sluice_reward\": 2, \"name\": \"x\"}'\ncat\n",
     "hello: the worker speaks protocol 2, this is protocol 1"},
    {"SaysSomethingElse", "#!/bin/sh\necho ready\ncat\n", "hello: not JSON"},
    {"SaysHelloTwice",
     "#!/bin/sh\nfor i in 1 2; do echo '{\"sluice_reward\": 1, \"name\": \"x\"}'; done\ncat\n", ""},
    {"IsNoProgram", "words\n", "not started: cannot start"},
};

std::ostream& operator<<(std::ostream& out, const Unstarted& unstarted) { return out << unstarted.name; }

class UnstartedProgram : public testing::TestWithParam<Unstarted> {};

TEST_P(UnstartedProgram, IsRefused) {
  const PluginFolder folder;
  folder.write_program("judge", GetParam().program);
  std::string refusal;
  std::string reason;
  try {
    const auto reward = folder.make("command", "./judge", {{"start_timeout_ms", 300}});
    reason =
        score(*reward, {}, "x").unscored_reason;  // the second hello came too late for the first deadline
  } catch (const UsageError& error) {
    refusal = error.what();
  }
  EXPECT_THAT(refusal, HasSubstr(GetParam().reason));
  EXPECT_TRUE(!refusal.empty() || !reason.empty());
  EXPECT_TRUE(folder.comes_to(0));
}

INSTANTIATE_TEST_SUITE_P(PlugIns, UnstartedProgram, testing::ValuesIn(kUnstarted),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(HostilePlugIn, OneThatEndsBetweenTwoGroupsIsReplacedBeforeTheNext) {
  const PluginFolder folder;
  folder.write("my.py", R"(
import os, threading
def reward(completions, **columns):
    threading.Timer(0.1, lambda: os._exit(0)).start()
    return [1.0] * len(completions)
)");
  const auto reward = folder.make("python", "my.py:reward", {{"retries", 1}});  // where its end is seen late
  for (int group = 0; group < 3; ++group) {
    EXPECT_EQ(score(*reward, {}, "x").score, 1.0);
    EXPECT_TRUE(folder.comes_to(0));
  }
}

TEST(HostilePlugIn, OneThatWritesBetweenTwoGroupsIsReplacedBeforeTheNext) {
  const PluginFolder folder;
  folder.write_program("judge",
                       "#!/bin/sh\necho '{\"sluice_reward\": 1, \"name\": \"x\"}'\nread line\n"
                       "echo '{\"id\": 1, \"scores\": [1]}'\nsleep 0.1\ntouch done\necho more\nread line\n");
  const auto reward = folder.make("command", "./judge");
  EXPECT_EQ(score(*reward, {}, "x").score, 1.0);
  for (int i = 0; i < 500 && !std::filesystem::exists(folder / "done"); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));

  // The next worker answers request 1, and this is request 2.
  EXPECT_THAT(score(*reward, {}, "x").unscored_reason, HasSubstr("it is to request 1, request 2 was asked"));
}

TEST(HostilePlugIn, ASecondWorkerGetsTheRequestThatTheFirstDiedOf) {
  const PluginFolder folder;
  folder.write("my.py", R"(
import os
def reward(completions, **columns):
    if not os.path.exists("died"):
        open("died", "w").close()
        os._exit(1)
    return [1.0] * len(completions)
)");
  const auto reward = folder.make("python", "my.py:reward", {{"retries", 1}});

  EXPECT_EQ(score(*reward, {}, "x").score, 1.0);
}

TEST(HostilePlugIn, OneOfTwoWorkersThatDiesTakesItsPartOfTheGroupWithIt) {
  const PluginFolder folder;
  folder.write("my.py", R"(
import os
def reward(completions, **columns):
    if "bad" in completions: os._exit(1)
    return [1.0] * len(completions)
)");
  const auto reward = folder.make("python", "my.py:reward", {{"workers", 2}});

  const auto outcomes = score_group(*reward, {}, {"bad", "good"});

  EXPECT_EQ(outcomes[0].unscored_reason, "crash: exit 1");
  EXPECT_EQ(outcomes[1].score, 1.0);
}

}  // namespace
}  // namespace sluice::rewards
