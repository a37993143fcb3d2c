// Libraries that break, each in its way, when they are to score "bad": the group is unscored with a reason,
// nothing of them is left, and the worker after it scores "good".
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/captured_run.h"
#include "base/error.h"
#include "base/subprocess.h"
#include "rewards/sandbox.h"
#include "tests/rewards/plugins/plugin_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

struct Hostile {
  const char* name;
  const char* body;       // of C, for a group with "bad" in it
  const char* reason;     // a part of it
  bool survives = false;  // what is wrong is one answer, not the worker
  bool is_slow = false;   // to break
};

std::ostream& operator<<(std::ostream& out, const Hostile& hostile) { return out << hostile.name; }

std::string library(const std::string& body, const std::string& open = "") {
  return "#define _GNU_SOURCE\n"
         "#include <sluice_reward.h>\n"
         "#include <fcntl.h>\n#include <math.h>\n#include <pthread.h>\n#include <signal.h>\n"
         "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <sys/socket.h>\n"
         "#include <unistd.h>\n"
         "static void* end_soon(void* none) { usleep(100000); _exit(0); return none; }\n"
         "static int deeper(volatile int n) { volatile char room[4096]; room[0] = n; "
         "return deeper(n + 1) + room[0]; }\n"
         "static void* open_state(void) { (void)end_soon; (void)deeper; " +
         open +
         " return NULL; }\n"
         "static int score(void* state, const sluice_sample* const* samples, size_t count, double* scores,\n"
         "                 char* problem, size_t problem_size) {\n"
         "  for (size_t i = 0; i < count; ++i) scores[i] = 1.0;\n"
         "  if (samples[0]->completion.size != 3) return 0;\n  " +
         body +
         "\n  return 0;\n}\n"
         "const sluice_reward* sluice_reward_v1(void) {\n"
         "  static const sluice_reward reward = {.size = sizeof(sluice_reward), .name = \"hostile\",\n"
         "                                       .open = open_state, .score = score};\n"
         "  return &reward;\n}\n";
}

void build(const PluginFolder& folder, const std::string& source) {
  folder.write("r.c", source);
  const auto status =
      Subprocess::start({.command = {"cc", "-std=c11", "-w", "-O0", "-shared", "-fPIC", "-pthread", "-I",
                                     SLUICE_SOURCE_DIR "/include", "r.c", "-o", "r.so"},
                         .working_directory = folder / ""})
          .wait(60'000);
  ASSERT_TRUE(status && status->ok());
}

// The worker of a library as `{ library = "r.so" }` starts it, which is this build's own program there.
std::unique_ptr<RewardFunction> make(const PluginFolder& folder, const Json& options = Json::object()) {
  Json all = {{"memory_mb", 256}, {"timeout_ms", 1000}};
  all.update(options);
  return folder.make("command", Json::array({SLUICE_BINARY, "reward-worker", (folder / "r.so").string()}),
                     all);
}

constexpr Hostile kHostile[] = {
    {"Hangs", "for (;;) pause();", "timeout: no reply within 1000 ms"},
    {"HangsAndIgnoresSigterm", "signal(SIGTERM, SIG_IGN); for (;;) sleep(1);", "timeout: "},
    {"Spins", "for (volatile int i = 0;; ++i) {}", "timeout: "},
    {"Segfaults", "*(volatile int*)8 = 1;", "crash: killed by SIGSEGV"},
    {"Aborts", "abort();", "crash: killed by SIGABRT"},
    {"FreesTwice", "void* p = malloc(100000); free(p); free(p); abort();", "crash: killed by SIGABRT"},
    {"KillsItself", "raise(SIGKILL);", "crash: killed by SIGKILL"},
    {"Exits", "exit(0);", "crash: exit 0"},
    {"ExitsWithWords", "fputs(\"this is the end\\n\", stderr); _exit(3);",
     "crash: exit 3 (its last words: this is the end)"},
    {"RecursesForEver", "scores[0] = deeper(0);", "crash: killed by SIGSEGV"},
    {"LeavesAChildAndExits", "if (fork() == 0) sleep(1000); _exit(7);", "crash: exit 7"},
    {"LeavesASessionOfItsOwn",
     "if (fork() == 0) { setsid(); if (fork() == 0) sleep(1000); _exit(0); } _exit(7);", "crash: exit 7"},
    {"LeavesProcesses", "for (int i = 0; i < 6; ++i) fork(); sleep(1000);", "timeout: "},
    {"ForksUntilItIsStopped", "for (int i = 0; i < 600; ++i) if (fork() == 0) sleep(1000);\n  sleep(1000);",
     "crash: it became more than 512 processes", false, true},
    {"WantsTenGigabytes", "char* p = malloc(10ul << 30); memset(p, 1, 10ul << 30);",
     "crash: killed by SIGSEGV"},
    {"WantsEverMore", "for (;;) memset(malloc(1 << 20), 1, 1 << 20);", "crash: killed by SIGSEGV", false,
     true},
    {"GivesNaN", "scores[0] = scores[1] = NAN;", "the worker gave no score", true},
    {"GivesInfinity", "scores[0] = scores[1] = INFINITY;", "bad output: the library gave an infinite score",
     true},
    {"SaysItCannot", "strncpy(problem, \"no idea\", problem_size); return 1;", "error: no idea", true},
    {"SaysItCannotWithoutAnEnd", "memset(problem, 'x', problem_size); return 1;", "error: xxx", true},
    {"SaysItCannotInGarbage", "strncpy(problem, \"\\xff\\xfe\\xc0\", problem_size); return 1;",
     "error: ", true},
    {"ReturnsAnotherNumber", "return -1;", "error: score() returned -1", true},
    {"PrintsAHundredMegabytes",
     "for (int i = 0; i < 100; ++i) { char* p = calloc(1, 1 << 20); memset(p, 'x', (1 << 20) - 1);"
     " puts(p); free(p); } fflush(stdout); return 2;",
     "error: score() returned 2", true, true},
    {"WritesGarbageIntoTheProtocol", "for (int fd = 3; fd < 20; ++fd) write(fd, \"\\xff\\xfe{\\n\", 4);",
     "bad output: "},
    {"ClosesEverything", "for (int fd = 0; fd < 100; ++fd) close(fd);", ": "},
};

class HostileLibrary : public testing::TestWithParam<Hostile> {};

TEST_P(HostileLibrary, IsUnscoredAndReplaced) {
  const auto& hostile = GetParam();
  const PluginFolder folder;
  build(folder, library(hostile.body));
  auto reward = make(folder, {{"timeout_ms", hostile.is_slow ? 20'000 : 1000}});
  ASSERT_EQ(score(*reward, {}, "good").score, 1.0);
  for (const auto& outcome : score_group(*reward, {}, {"bad", "bad"})) {
    EXPECT_FALSE(outcome.score);
    EXPECT_THAT(outcome.unscored_reason, HasSubstr(hostile.reason));
  }
  EXPECT_TRUE(folder.comes_to(hostile.survives ? 1 : 0)) << folder.num_processes() << " processes";
  EXPECT_EQ(score(*reward, {}, "good").score, 1.0);
  reward.reset();
  EXPECT_TRUE(folder.comes_to(0)) << folder.num_processes() << " processes";
}

INSTANTIATE_TEST_SUITE_P(PlugIns, HostileLibrary, testing::ValuesIn(kHostile),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(HostileLibraries, OneThatEndsBetweenTwoGroupsIsReplacedBeforeTheNext) {
  const PluginFolder folder;
  build(folder, library("", "pthread_t thread; pthread_create(&thread, NULL, end_soon, NULL);"));
  const auto reward = make(folder, {{"retries", 1}});
  for (int group = 0; group < 3; ++group) {
    EXPECT_EQ(score(*reward, {}, "x").score, 1.0);
    EXPECT_TRUE(folder.comes_to(0));
  }
}

// A mistake in the recipe, said before anything is scored.
TEST(HostileLibraries, AreRefusedWhereTheyCannotBegin) {
  const std::pair<std::string, std::string> cases[] = {
      {library("", "for (;;) pause();"), "not started: timeout: no hello within 500 ms"},
      {library("", "raise(SIGSEGV);"), "not started: crash: killed by SIGSEGV"},
      {"int other(void) { return 1; }\n", "has no function sluice_reward_v1"},
      {"const void* sluice_reward_v1(void) { return 0; }\n", "sluice_reward_v1 gave nothing"},
      {"const void* sluice_reward_v1(void) { static long table[64] = {8}; return table; }\n",
       "gave a table of another size"},
      {"const void* sluice_reward_v1(void) { static long table[64] = {512}; return table; }\n",
       "gave a table without score"},
  };
  for (const auto& [source, reason] : cases) {
    const PluginFolder folder;
    build(folder, source);
    const bool hangs = reason.find("no hello") != std::string::npos;
    EXPECT_THAT(message_of<UsageError>([&] {
                  make(folder, {{"start_timeout_ms", hangs ? 500 : 20'000}});
                }),
                HasSubstr(reason));
    EXPECT_TRUE(folder.comes_to(0));
  }
  const PluginFolder folder;
  folder.write("r.so", "no library");
  EXPECT_THAT(message_of<UsageError>([&] { make(folder); }), HasSubstr("cannot load it: "));
}

TEST(HostileLibraries, AreHeldToTheSandboxThatTheirRecipeAsksFor) {
  if (sandbox_support().level < SandboxLevel::Namespaces)
    GTEST_SKIP() << "this machine gives no namespaces: " << sandbox_support().why_not_more;
  // As a person tries it, since what the worker loads has to be seen from in there.
  const auto outcome_of = [](const PluginFolder& folder, const std::string& body) {
    std::filesystem::permissions(folder / ".", std::filesystem::perms(0755));
    build(folder, library(body));
    folder.write("answers.jsonl", Json({{"prompt", "x"}, {"completion", "bad"}}).dump() + "\n");
    const auto run = run_captured({.command = {SLUICE_BINARY, "reward", "test", "r.so", "--file",
                                               "answers.jsonl", "sandbox=namespaces", "--json"},
                                   .working_directory = folder / ""},
                                  {.wall_ms = 60'000});
    EXPECT_EQ(run.status->code, 0) << run.errors;
    return Json::parse(run.output);
  };
  const PluginFolder connects, writes;
  EXPECT_EQ(outcome_of(connects, "socket(AF_INET, SOCK_STREAM, 0);").at("reason"),
            "denied: it made a system call that the sandbox denies");
  const std::string path = (writes / "written").string();
  const std::string writing = "scores[0] = open(\"" + path + "\", O_CREAT | O_WRONLY, 0600) < 0 ? 0.5 : 1;";
  EXPECT_EQ(outcome_of(writes, writing).at("score"), 0.5);
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace sluice::rewards
