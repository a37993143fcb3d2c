#include "rewards/sandbox.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "base/captured_run.h"
#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::rewards {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr CaptureLimits kQuick = {.wall_ms = 8'000, .output_bytes = 1u << 20};

// Processes anywhere on the machine that have the word among their arguments.
int processes_with(const std::string& word) {
  int found = 0;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    std::ostringstream line;
    line << file.rdbuf();  // of a process that ends meanwhile, nothing
    if (line.str().find(word) != std::string::npos) ++found;
  }
  return found;
}

// What the kernel kills is gone a moment later.
bool none_left_with(const std::string& word) {
  const SteadyClock clock;
  for (const Millis begin_ms = clock.now_ms(); clock.now_ms() < begin_ms + 5'000;) {
    if (processes_with(word) == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

struct Ended {
  CapturedRun run;
  SandboxEnd end = SandboxEnd::Killed;  // of a run that was not killed for a limit of its caller's
};

// Each level for itself; a machine that gives less says so and goes on.
class SandboxAt : public testing::TestWithParam<SandboxLevel> {
 protected:
  void SetUp() override {
    if (GetParam() > sandbox_support().level) {
      GTEST_SKIP() << "this machine gives no sandbox of level " << sandbox_name(GetParam()) << ": "
                   << sandbox_support().why_not_more;
    }
    policy_.level = GetParam();
    policy_.limits.cpu_s = 5;
  }

  bool is_alone() const { return GetParam() == SandboxLevel::Namespaces; }

  // The program carries a word of the test's own, and no process with it is left behind.
  Ended python(const std::string& program, const CaptureLimits& limits = kQuick) {
    const std::string word = std::string("mark-") +
                             testing::UnitTest::GetInstance()->current_test_info()->name() + "-" +
                             std::to_string(::getpid());
    Ended ended;
    ended.run =
        run_captured(sandboxed({.command = {"python3", "-I", "-S", "-c", program, word}}, policy_), limits);
    if (ended.run.status) ended.end = sandbox_end(*ended.run.status, policy_.level);
    EXPECT_TRUE(none_left_with(word));
    return ended;
  }

  SandboxPolicy policy_;
};

std::string level_name(const testing::TestParamInfo<SandboxLevel>& info) {
  return std::string(sandbox_name(info.param));
}
INSTANTIATE_TEST_SUITE_P(Levels, SandboxAt, testing::Values(SandboxLevel::Limits, SandboxLevel::Namespaces),
                         level_name);

TEST_P(SandboxAt, RunsAProgramWithItsInputAndEnvironment) {
  ::setenv("SLUICE_TEST_SECRET", "secret", 1);
  const auto run = run_captured(sandboxed({.command = {"sh", "-c", "cat; cat <&5; env; ls /proc/self/fd"},
                                           .environment = {{"GIVEN", "this"}},
                                           .inputs = {{0, "in\n"}, {5, "more\n"}}},
                                          policy_),
                                kQuick);

  EXPECT_THAT(run.output, AllOf(StartsWith("in\nmore\n"), HasSubstr("GIVEN=this\n"), HasSubstr("PATH=/usr")));
  EXPECT_THAT(run.output, Not(HasSubstr("secret")));
  EXPECT_TRUE(run.status && run.status->ok()) << run.errors;
}

TEST_P(SandboxAt, InheritsNoDescriptorNotEvenALock) {
  const TempFolder folder;
  const int fd = ::open(folder.write("lock", "").c_str(), O_RDWR);  // without O_CLOEXEC, as FileLock
  const auto run = run_captured(sandboxed({.command = {"ls", "-l", "/proc/self/fd"}}, policy_), kQuick);
  ::close(fd);

  EXPECT_THAT(run.output, Not(HasSubstr("lock")));
}

TEST_P(SandboxAt, HasNoRightsAndNoWayToMoreOfThem) {
  const auto run = run_captured(sandboxed({.command = {"cat", "/proc/self/status"}}, policy_), kQuick);

  EXPECT_THAT(run.output, AllOf(HasSubstr("NoNewPrivs:\t1\n"), HasSubstr("Seccomp:\t2\n"),
                                HasSubstr("CapEff:\t0000000000000000\n"), Not(HasSubstr("Uid:\t0\t"))));
}

TEST_P(SandboxAt, EndsAProgramThatHangs) {
  const auto sleeps =
      python("import time, signal\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(1000)", {.wall_ms = 300});
  EXPECT_TRUE(sleeps.run.timed_out);
  EXPECT_EQ(sleeps.run.status, std::nullopt);
}

TEST_P(SandboxAt, EndsAProgramThatUsesUpItsProcessorTime) {
  policy_.limits.cpu_s = 1;
  EXPECT_EQ(python("while True: pass").end, SandboxEnd::CpuLimit);
}

TEST_P(SandboxAt, StopsAForkBomb) {
  const auto ended = python(R"(
import os, time
forks = 0
try:
    while forks < 1000:
        if os.fork() == 0:
            time.sleep(1000)
        forks += 1
except OSError as error:
    print(forks, error.errno)
)");
  int forks = 0, number = 0;
  std::istringstream(ended.run.output) >> forks >> number;
  EXPECT_LE(forks, policy_.limits.processes);
  EXPECT_EQ(number, EAGAIN) << ended.run.errors;
}

TEST_P(SandboxAt, StopsAForkBombThatGoesOn) {
  EXPECT_TRUE(python("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", {.wall_ms = 500})
                  .run.timed_out);
}

TEST_P(SandboxAt, GivesNoTenGigabytes) {
  const auto ended = python("x = bytearray(10 << 30)");
  EXPECT_EQ(ended.end, SandboxEnd::Failed);
  EXPECT_THAT(ended.run.errors, HasSubstr("MemoryError"));
}

TEST_P(SandboxAt, CutsAHundredMegabytesOfOutput) {
  const auto ended = python("import sys\nfor i in range(100): sys.stdout.write('x' * (1 << 20))");
  EXPECT_TRUE(ended.run.wrote_too_much);
  EXPECT_EQ(ended.run.output.size(), kQuick.output_bytes);
}

TEST_P(SandboxAt, BoundsAFile) {
  const TempFolder folder;
  fs::permissions(folder.path().parent_path(), fs::perms::others_exec, fs::perm_options::add);
  policy_.folder = folder.path();
  policy_.limits.file_bytes = 1u << 20;
  const auto ended = python(R"(
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
open("big", "wb").write(b"x" * (4 << 20))
)");
  EXPECT_EQ(ended.end, SandboxEnd::FileLimit) << ended.run.errors;
  EXPECT_EQ(fs::file_size(folder / "big"), 1u << 20);
}

TEST_P(SandboxAt, WritesNowhereElse) {
  const auto target = fs::path("/usr/share/sluice-" + std::to_string(::getpid()));
  const auto ended = python("open('" + target.string() + "', 'w')");
  EXPECT_EQ(ended.end, SandboxEnd::Failed);
  EXPECT_FALSE(fs::exists(target));
}

TEST_P(SandboxAt, OpensNoSocket) {
  EXPECT_EQ(python("import _socket\n_socket.socket(2, 1, 0)").end, SandboxEnd::Denied);
  EXPECT_EQ(python("import _socket\n_socket.socket(10, 2, 0)").end, SandboxEnd::Denied);
  EXPECT_THAT(python("import _socket\n_socket.socket(1, 1, 0)").run.errors, HasSubstr("PermissionError"));
  EXPECT_EQ(python("import _socket\n_socket.socketpair()").end, SandboxEnd::Done);
}

TEST_P(SandboxAt, ReadsNoSecrets) {
  if (::geteuid() != 0 && !is_alone()) GTEST_SKIP() << "as the user itself it may read what that may";
  const auto ended = python(R"(
import os
for path in ("/etc/shadow", "/root", "/proc/1/environ", "/proc/%d/environ" % os.getppid()):
    try:
        os.listdir(path) if path == "/root" else open(path).read()
        print(path, "was read")
    except OSError: pass
)");
  EXPECT_EQ(ended.run.output, "") << ended.run.errors;
}

TEST_P(SandboxAt, KillsNobodyElse) {
  // Parent, group, everybody: none of them is this test.
  const auto ended = python(R"(
import os
for target in (os.getppid(), -1, )" +
                            std::to_string(::getpid()) + R"():
    try: os.kill(target, 9)
    except OSError: pass
print("tried")
)");
  EXPECT_EQ(ended.run.output, "tried\n") << ended.run.errors;
}

TEST_P(SandboxAt, TracesAndMountsNothing) {
  const auto calls = [&](const std::string& call) {
    return python("import ctypes\nctypes.CDLL(None)." + call).end;
  };
  EXPECT_EQ(calls("ptrace(16, 1, 0, 0)"), SandboxEnd::Denied);
  EXPECT_EQ(calls("process_vm_readv(1, 0, 0, 0, 0, 0)"), SandboxEnd::Denied);
  EXPECT_EQ(calls("unshare(0x10000000)"), SandboxEnd::Denied);
  EXPECT_EQ(calls("mount(0, b'/', 0, 0, 0)"), SandboxEnd::Denied);
  EXPECT_EQ(calls("syscall(250, 0, 0, 0, 0)"), SandboxEnd::Denied);  // keyctl
  // Namespaces by clone() are as unknown as the call that hides its flags, clone3().
  EXPECT_THAT(python("import ctypes\nc = ctypes.CDLL(None, use_errno=True)\n"
                     "print(c.syscall(56, 0x10000000, 0, 0, 0, 0), c.syscall(435, 0, 0), ctypes.get_errno())")
                  .run.output,
              "-1 -1 38\n");
}

TEST_P(SandboxAt, LeavesNoDaemonBehind) {
  const auto ended = python(R"(
import os, time
if os.fork() == 0:
    try: os.setsid()
    except OSError: pass
    if os.fork() == 0:
        os.close(1); os.close(2)
        time.sleep(1000)
    os._exit(0)
os.wait()
)");
  EXPECT_EQ(ended.end, SandboxEnd::Done) << ended.run.errors;  // python() looked for what is left
}

TEST_P(SandboxAt, GivesAFolderToWriteIn) {
  const TempFolder folder;
  policy_.folder = folder.path();
  EXPECT_EQ(python("open('note', 'w').write('kept')").end, SandboxEnd::Done);
  EXPECT_EQ(fs::file_size(folder / "note"), 4u);
}

// A link is followed in the sandbox: there is nothing behind it.
TEST_P(SandboxAt, IsNotLedOutByALink) {
  if (!is_alone()) GTEST_SKIP() << "the file system is everybody's";
  const TempFolder folder, other;
  policy_.folder = folder.path();
  other.write("secret", "secret");
  EXPECT_THAT(python("import os\nos.symlink('" + other.path().string() +
                     "/secret', 'link')\nprint(open('link').read())")
                  .run.errors,
              HasSubstr("No such file"));
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
}

TEST_P(SandboxAt, SeesWhatItMayReadAndCannotChangeIt) {
  const TempFolder folder, hidden;
  const auto file = folder.write("data", "of the test");
  fs::permissions(folder.path(), fs::perms(0755));
  policy_.readable = {folder.path()};
  const auto ended =
      python("print(open('" + file.string() + "').read())\nopen('" + file.string() + "', 'a')");
  EXPECT_EQ(ended.run.output, "of the test\n") << ended.run.errors;
  if (is_alone()) {
    EXPECT_THAT(ended.run.errors, AnyOf(HasSubstr("Read-only file system"), HasSubstr("Permission denied")));
    EXPECT_THAT(python("import os\nprint(os.path.exists('" + hidden.path().string() + "'))").run.output,
                "False\n");
    policy_.readable = {folder / "none"};
    EXPECT_THAT(message_of<DataError>([&] { python("pass"); }), HasSubstr("is not there"));
  }
}

TEST(Sandbox, IsAloneInItsNamespaces) {
  if (sandbox_support().level < SandboxLevel::Namespaces) {
    GTEST_SKIP() << "this machine gives no namespaces: " << sandbox_support().why_not_more;
  }
  const auto run = run_captured(
      sandboxed({.command = {"sh", "-c",
                             "hostname; echo /proc/[0-9]*; ls /; cat /proc/net/dev; pwd; "
                             "for i in / /dev /usr /proc/sys; do touch $i/x; done; touch /tmp/x && ls"}},
                {}),
      kQuick);
  EXPECT_THAT(run.output, StartsWith("sandbox\n/proc/1 /proc/2\n"));
  EXPECT_THAT(run.output, Not(HasSubstr("eth0")));
  EXPECT_THAT(run.output, Not(HasSubstr("home")));
  EXPECT_TRUE(run.output.ends_with("/tmp\nx\n")) << run.output;
}

// A tmpfs is memory: all of it together has a bound, not each file alone.
TEST(Sandbox, BoundsItsPrivateFolder) {
  if (sandbox_support().level < SandboxLevel::Namespaces) {
    GTEST_SKIP() << "this machine gives no namespaces: " << sandbox_support().why_not_more;
  }
  const auto run = run_captured(
      sandboxed(
          {.command = {"sh", "-c",
                       "for i in 1 2 3 4; do dd if=/dev/zero of=/tmp/$i bs=1M count=1 || exit 9; done"}},
          {.limits = {.file_bytes = 2u << 20}}),
      kQuick);
  EXPECT_EQ(describe(run.status.value()), "exit 9");
  EXPECT_THAT(run.errors, HasSubstr("No space left"));
}

TEST(Sandbox, OfLevelNoneIsTheProgramItself) {
  const auto start = sandboxed({.command = {"sh", "-c", "true"}}, {.level = SandboxLevel::None});
  EXPECT_THAT(start.command, testing::ElementsAre("sh", "-c", "true"));
  EXPECT_FALSE(start.closed);
}

TEST(Sandbox, SaysWhatThisMachineDoesNotGive) {
  const SandboxSupport some = {.level = SandboxLevel::Limits, .why_not_more = "bwrap is not found"};
  require_sandbox(SandboxLevel::Limits, "recipe.toml:3", some);
  const auto message =
      message_of<EnvironmentError>([&] { require_sandbox(SandboxLevel::Namespaces, "recipe.toml:3", some); });

  EXPECT_THAT(message,
              StartsWith("recipe.toml:3: sandbox = \"namespaces\" is not to be had here, this machine "
                         "gives \"limits\": bwrap is not found"));
  EXPECT_THAT(message, HasSubstr("sluice doctor"));
}

TEST(Sandbox, KnowsItsLevelsByName) {
  for (const auto level : {SandboxLevel::None, SandboxLevel::Limits, SandboxLevel::Namespaces}) {
    EXPECT_EQ(sandbox_level(std::string(sandbox_name(level)), "here"), level);
  }
  EXPECT_THAT(
      message_of<UsageError>([] { sandbox_level("namespace", "here"); }),
      HasSubstr("here: sandbox is \"none\", \"limits\" or \"namespaces\", saw \"namespace\"; did you mean "
                "\"namespaces\"?"));
}

// Found out by running something, so a machine without the program says so.
TEST(Sandbox, ProbesByRunning) {
  const std::string path = ::getenv("PATH");
  const TempFolder empty;
  ::setenv("PATH", empty.path().c_str(), 1);
  const auto support = probe_sandbox();
  ::setenv("PATH", path.c_str(), 1);

  EXPECT_EQ(support.level, SandboxLevel::None);
  EXPECT_THAT(support.why_not_more, HasSubstr("not found on PATH"));
}

TEST(Sandbox, TellsSignalsBehindBubblewrapApart) {
  const auto inside = [](int code) {
    return sandbox_end({.code = code, .signal = 0}, SandboxLevel::Namespaces);
  };
  EXPECT_EQ(inside(0), SandboxEnd::Done);
  EXPECT_EQ(inside(3), SandboxEnd::Failed);
  EXPECT_EQ(inside(128 + SIGSYS), SandboxEnd::Denied);
  EXPECT_EQ(inside(128 + SIGXCPU), SandboxEnd::CpuLimit);
  EXPECT_EQ(inside(128 + SIGXFSZ), SandboxEnd::FileLimit);
  EXPECT_EQ(inside(128 + SIGKILL), SandboxEnd::Killed);
  EXPECT_EQ(inside(128 + SIGSEGV), SandboxEnd::Crashed);
  EXPECT_EQ(sandbox_end({.code = 128 + SIGSYS, .signal = 0}, SandboxLevel::Limits), SandboxEnd::Failed);
  EXPECT_EQ(sandbox_end({.code = 0, .signal = SIGSYS}, SandboxLevel::Limits), SandboxEnd::Denied);
}

}  // namespace
}  // namespace sluice::rewards
