// Libraries that break, each in its way, when they are to score "bad": the group is unscored with a reason,
// nothing of them is left, and the worker after it scores "good".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/subprocess.h"
#include "rewards/sandbox.h"
#include "tests/rewards/plugins/plugin_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

struct Hostile {
  const char* name;
  const char* body;       // in C++, what it does with "bad"
  const char* reason;     // a part of it
  bool survives = false;  // what is wrong is one answer, not the worker
  bool is_slow = false;   // to break
};

std::ostream& operator<<(std::ostream& out, const Hostile& hostile) { return out << hostile.name; }

constexpr Hostile kHostile[] = {
    {"Hangs", "sleep(1000);", "timeout: no reply within 1000 ms"},
    {"HangsAndIgnoresSigterm", "signal(SIGTERM, SIG_IGN); while (true) sleep(1);",
     "timeout: no reply within 1000 ms"},
    {"Spins", "while (true) spin = spin + 1;", "timeout: no reply within 1000 ms"},
    {"Segfaults", "*(volatile int*)8 = 1;", "crash: killed by SIGSEGV"},
    {"EndsByAnArithmeticSignal", "raise(SIGFPE);", "crash: killed by SIGFPE"},
    {"Aborts", "abort();", "crash: killed by SIGABRT"},
    {"ThrowsThroughC", "throw std::runtime_error(\"no\");", "crash: exit 1 (its last words: sluice: no)"},
    {"KillsItself", "kill(getpid(), SIGKILL);", "crash: killed by SIGKILL"},
    {"Exits", "_exit(0);", "crash: exit 0"},
    {"ExitsWithWords", "fprintf(stderr, \"this is the end\\n\"); exit(3);",
     "crash: exit 3 (its last words: this is the end)"},
    {"RecursesForEver", "overflow(1);", "crash: killed by SIGSEGV"},
    {"LeavesProcesses", "for (int i = 0; i < 6; ++i) fork(); sleep(1000);", "timeout: "},
    {"ForksUntilItIsStopped", "for (int i = 0; i < 600; ++i) if (fork() == 0) sleep(1000); sleep(1000);",
     "crash: it became more than 512 processes", false, true},
    {"LeavesAChildAndExits", "if (fork() == 0) sleep(1000); _exit(7);", "crash: exit 7"},
    {"LeavesASessionOfItsOwn",
     "if (fork() == 0) { setsid(); if (fork() == 0) sleep(1000); _exit(0); } _exit(7);", "crash: exit 7"},
    {"WantsTenGigabytes",
     "char* all = (char*)malloc(10ull << 30); memset(all, 1, 10ull << 30); spin = all[1];",
     "crash: killed by SIG"},
    {"WantsEverMore",
     "while (true) { char* more = new char[1 << 20]; memset(more, 1, 1 << 20); spin = *more; }",
     "crash: exit 1 (its last words: sluice: std::bad_alloc)", false, true},
    {"FailsWithoutWords", "return 5;", "error: score() returned 5", true},
    {"FailsWithWords", "snprintf(problem, size, \"no model here\"); return 1;", "error: no model here", true},
    {"FailsWithoutAnEndToItsWords", "memset(problem, 'x', size); return 1;", "error: xxx", true},
    {"FailsInNoCharacters", "memcpy(problem, \"\\xff\\xfe\", 3); return 1;", "error: \xEF\xBF\xBD", true},
    {"GivesNaN", "for (size_t i = 0; i < count; ++i) scores[i] = NAN; return 0;", "the worker gave no score",
     true},
    {"GivesInfinity", "for (size_t i = 0; i < count; ++i) scores[i] = INFINITY; return 0;",
     "bad output: the library gave an infinite score", true},
    {"GivesNothing", "return 0;", "the worker gave no score", true},
    {"WritesIntoTheProtocol", "for (int fd = 3; fd < 20; ++fd) (void)!write(fd, \"\\xff{\\n\", 3); return 0;",
     "bad output: "},
    {"ClosesEverything", "for (int fd = 0; fd < 100; ++fd) close(fd); return 0;", ": "},
    {"PrintsAHundredMegabytes",
     "char* much = (char*)calloc(1 << 20, 1); memset(much, 'x', (1 << 20) - 1);"
     "for (int i = 0; i < 100; ++i) puts(much); free(much); snprintf(problem, size, \"done\"); return 1;",
     "error: done", true, true},
};

constexpr const char* kLibrary = R"(
#include <cmath>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <unistd.h>
#include <sluice_reward.h>
static volatile int spin = 3;
__attribute__((noinline)) static int overflow(int n) {
  volatile char frame[4096];
  frame[0] = (char)n;
  return spin == 0 ? frame[0] : overflow(n + 1) + frame[0];
}
static int bad(size_t count, double* scores, char* problem, size_t size) {
  (void)count; (void)scores; (void)problem; (void)size; (void)overflow;
  BODY
  return 0;
}
static int score(void*, const sluice_sample* const* samples, size_t count, double* scores, char* problem,
                 size_t size) {
  for (size_t i = 0; i < count; ++i) {
    if (samples[i]->completion.size == 3) return bad(count, scores, problem, size);
  }
  for (size_t i = 0; i < count; ++i) scores[i] = 1.0;
  return 0;
}
extern "C" const sluice_reward* sluice_reward_v1(void) {
  static sluice_reward reward{};
  reward.size = sizeof reward;
  reward.name = "hostile";
  reward.score = score;
  return &reward;
}
)";

class HostileLibrary : public testing::TestWithParam<Hostile> {
 protected:
  void build(const std::string& body) const {
    std::string source = kLibrary;
    source.replace(source.find("BODY"), 4, body);
    folder_.write("r.cc", source);
    auto compiler = Subprocess::start({.command = {"c++", "-std=c++17", "-O0", "-w", "-shared", "-fPIC", "-I",
                                                   SLUICE_SOURCE_DIR "/include", "r.cc", "-o", "r.so"},
                                       .working_directory = folder_ / ""});
    const auto status = compiler.wait(60'000);
    ASSERT_TRUE(status && status->ok());
  }

  // The worker that a recipe's `library` starts.
  std::unique_ptr<RewardFunction> make(const Json& options) const {
    return folder_.make("command", Json::array({SLUICE_BINARY, "reward-worker", "r.so"}), options);
  }

  const PluginFolder folder_;
};

TEST_P(HostileLibrary, IsUnscoredAndReplaced) {
  const auto& hostile = GetParam();
  build(hostile.body);
  auto reward = make({{"timeout_ms", hostile.is_slow ? 20'000 : 1000}, {"memory_mb", 512}});
  ASSERT_EQ(score(*reward, {}, "good").score, 1.0);

  const auto outcomes = score_group(*reward, {}, {"bad", "bad"});

  ASSERT_EQ(outcomes.size(), 2u);
  for (const auto& outcome : outcomes) {
    EXPECT_FALSE(outcome.score);
    EXPECT_THAT(outcome.unscored_reason, HasSubstr(hostile.reason));
  }
  EXPECT_TRUE(folder_.comes_to(hostile.survives ? 1 : 0)) << folder_.num_processes() << " processes";
  EXPECT_EQ(score(*reward, {}, "good").score, 1.0);
  EXPECT_TRUE(folder_.comes_to(1)) << folder_.num_processes() << " processes";
  reward.reset();
  EXPECT_TRUE(folder_.comes_to(0)) << folder_.num_processes() << " processes";
}

INSTANTIATE_TEST_SUITE_P(PlugIns, HostileLibrary, testing::ValuesIn(kHostile),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace sluice::rewards
