#include "base/subprocess.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/files.h"
#include "base/signals.h"
#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::Not;

constexpr Millis kLong = 20'000;  // reached only when something is broken

// A pipe whose descriptors no child inherits.
struct Pipe {
  Pipe() { EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0); }
  ~Pipe() {
    ::close(ends[0]);
    close_writer();
  }
  void close_writer() {
    if (ends[1] >= 0) ::close(ends[1]);
    ends[1] = -1;
  }
  // Up to a newline or the end.
  std::string line() {
    std::string text;
    for (char c = 0; ::read(ends[0], &c, 1) == 1 && c != '\n';) text += c;
    return text;
  }
  int ends[2];
};

// A process that is not ours to wait for; `gone` waits on its descriptor.
class Stranger {
 public:
  explicit Stranger(pid_t pid) : pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))) {}
  ~Stranger() { ::close(pidfd_); }
  bool gone(int timeout_ms) const {
    pollfd entry{.fd = pidfd_, .events = POLLIN, .revents = 0};
    return pidfd_ < 0 || ::poll(&entry, 1, timeout_ms) == 1;
  }

 private:
  const int pidfd_;
};

// Runs a shell script to its end and returns what it wrote.
std::string output_of(const std::string& script, SubprocessOptions options = {}) {
  const TempFolder folder;
  options.command = {"sh", "-c", script};
  options.output = folder / "out";
  auto child = Subprocess::start(options);
  EXPECT_EQ(describe(child.wait(kLong).value()), "exit 0") << read_file(folder / "out");
  return read_file(folder / "out");
}

TEST(Subprocess, TellsHowItEnded) {
  auto exits = Subprocess::start({.command = {"sh", "-c", "exit 3"}});
  auto killed = Subprocess::start({.command = {"sh", "-c", "kill -SEGV $$"}});

  EXPECT_EQ(describe(exits.wait(kLong).value()), "exit 3");
  EXPECT_FALSE(exits.wait(0)->ok());
  EXPECT_EQ(describe(killed.wait(kLong).value()), "killed by SIGSEGV");
  EXPECT_EQ(describe({.code = 0, .signal = SIGKILL}), "killed by SIGKILL");
}

TEST(Subprocess, WaitingHasAnEnd) {
  auto child = Subprocess::start({.command = {"sleep", "1000"}});
  EXPECT_EQ(child.wait(0), std::nullopt);
  EXPECT_EQ(child.wait(20), std::nullopt);
}

TEST(Subprocess, GetsItsWordsEnvironmentFolderAndOutput) {
  const TempFolder folder;
  fs::create_directory(folder / "work");
  write_plain(folder / "log", "before\n");
  ::setenv("SLUICE_TEST_KEPT", "kept", 1);
  ::setenv("SLUICE_TEST_CHANGED", "old", 1);

  auto child =
      Subprocess::start({.command = {"sh", "-c",
                                     "echo \"$1|$SLUICE_TEST_KEPT|$SLUICE_TEST_CHANGED\"; basename \"$PWD\"; "
                                     "echo wrong >&2",
                                     "sh", "two words; $x"},
                         .environment = {{"SLUICE_TEST_CHANGED", "new"}},
                         .working_directory = folder / "work",
                         .output = folder / "log"});

  EXPECT_TRUE(child.wait(kLong)->ok());
  EXPECT_EQ(read_file(folder / "log"), "before\ntwo words; $x|kept|new\nwork\nwrong\n");
}

TEST(Subprocess, TalksOverBorrowedDescriptors) {
  Pipe to_child;
  Pipe from_child;
  auto child =
      Subprocess::start({.command = {"cat"}, .stdin_fd = to_child.ends[0], .stdout_fd = from_child.ends[1]});
  ASSERT_EQ(::write(to_child.ends[1], "hello\n", 6), 6);

  EXPECT_EQ(from_child.line(), "hello");
  to_child.close_writer();  // the child's copy is gone too, so it sees the end
  EXPECT_TRUE(child.wait(kLong)->ok());
}

TEST(Subprocess, ReadsInputsOfBytes) {
  const std::string large(200'000, 'x');
  EXPECT_EQ(output_of("cat; cat <&3; wc -c <&9; (echo no >&3) 2>/dev/null || echo sealed",
                      {.inputs = {{0, "first "}, {3, "second "}, {9, large}}}),
            "first second 200000\nsealed\n");
  EXPECT_THROW(Subprocess::start({.command = {"true"}, .inputs = {{1, ""}}}), Error);
  EXPECT_THROW(Subprocess::start({.command = {"true"}, .inputs = {{64, ""}}}), Error);
}

TEST(Subprocess, CanBeClosedToWhatOthersInherit) {
  const int fd = ::open("/etc/hostname", O_RDONLY);
  EXPECT_THAT(output_of("ls -l /proc/self/fd"), HasSubstr("hostname"));
  const auto descriptors = output_of("ls -l /proc/self/fd", {.inputs = {{20, "text"}}, .closed = true});
  EXPECT_THAT(descriptors, Not(HasSubstr("hostname")));
  EXPECT_THAT(descriptors, HasSubstr("sluice-input"));
  ::close(fd);
}

TEST(Subprocess, RunsUnderAFilterOfSystemCalls) {
  // Looks at the number of the call: getppid() kills, the rest is allowed.
  const sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  auto child = Subprocess::start(
      {.command = {"sh", "-c", "true"},  // a shell asks for its parent
       .system_call_filter = std::string(reinterpret_cast<const char*>(program), sizeof program)});
  EXPECT_EQ(describe(child.wait(kLong).value()), "killed by SIGSYS");
  EXPECT_THROW(Subprocess::start({.command = {"true"}, .system_call_filter = "odd"}), Error);
}

TEST(Subprocess, ReadsNothingWithoutAnInput) { EXPECT_EQ(output_of("cat; echo end"), "end\n"); }

TEST(Subprocess, SaysWhyAProgramCannotStart) {
  const TempFolder folder;
  write_plain(folder / "plain", "text");
  write_plain(folder / "script", "#!/no/such/interpreter\n");
  fs::permissions(folder / "script", fs::perms::owner_all);
  const auto why = [](const SubprocessOptions& options) {
    return message_of<EnvironmentError>([&] { Subprocess::start(options); });
  };

  EXPECT_THAT(why({.command = {"sluice-no-such-program"}}), HasSubstr("not found on PATH"));
  EXPECT_THAT(why({.command = {folder / "none"}}), HasSubstr("No such file"));
  EXPECT_THAT(why({.command = {folder / "plain"}}), HasSubstr("Permission denied"));
  EXPECT_THAT(why({.command = {folder / "script"}}), HasSubstr("No such file"));
  EXPECT_THAT(why({.command = {"true"}, .working_directory = folder / "none"}),
              HasSubstr("working directory"));
  EXPECT_THAT(why({.command = {"true"}, .output = folder / "none" / "log"}), HasSubstr("cannot open"));
  EXPECT_THROW(Subprocess::start({}), Error);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1);  // none of them left a zombie
}

TEST(Subprocess, FindsProgramsOnThePathItIsGiven) {
  const TempFolder folder;
  write_plain(folder / "greet", "#!/bin/sh\necho hi\n");
  fs::permissions(folder / "greet", fs::perms::owner_all);
  auto child = Subprocess::start({.command = {"greet"},
                                  .environment = {{"PATH", "/nowhere:" + folder.path().string()}},
                                  .output = folder / "out"});
  EXPECT_TRUE(child.wait(kLong)->ok());
  EXPECT_EQ(read_file(folder / "out"), "hi\n");
}

TEST(Subprocess, StartsWithCleanSignals) {
  const StopSignals blocks_two_and_ignores_sigpipe;
  const auto status = output_of("cat /proc/self/status");

  EXPECT_THAT(status, HasSubstr("SigBlk:\t0000000000000000"));
  const auto ignored = std::stoull(status.substr(status.find("SigIgn:") + 7), nullptr, 16);
  EXPECT_EQ(ignored & (1ull << (SIGPIPE - 1)), 0u);
}

TEST(Subprocess, InheritsNoneOfOurDescriptors) {
  const StopSignals signals;
  auto other = Subprocess::start({.command = {"sleep", "1000"}});
  const Pipe pipe;

  const auto descriptors = output_of("ls -l /proc/self/fd");

  EXPECT_THAT(descriptors, Not(HasSubstr("signalfd")));
  EXPECT_THAT(descriptors, Not(HasSubstr("pidfd")));
  EXPECT_THAT(descriptors,
              Not(HasSubstr(fs::read_symlink("/proc/self/fd/" + std::to_string(pipe.ends[0])).string())));
}

TEST(Subprocess, HandsALockToOurOwnProgramsAlone) {
  const TempFolder folder;
  write_plain(folder / "lock", "");
  const int lock = ::open((folder / "lock").c_str(), O_RDONLY);  // without O_CLOEXEC
  const auto holds = "[ -e /proc/self/fd/" + std::to_string(lock) + " ] && echo yes || echo no";

  EXPECT_EQ(output_of(holds), "yes\n");
  EXPECT_EQ(output_of(holds, {.closed = true}), "no\n");
  ::close(lock);
}

TEST(Subprocess, WritesItsErrorsWhereItIsTold) {
  const Pipe pipe;
  EXPECT_EQ(output_of("echo fine; echo wrong >&2", {.stderr_fd = pipe.ends[1]}), "fine\n");
  char text[6];
  ASSERT_EQ(::read(pipe.ends[0], text, sizeof text), 6);
  EXPECT_EQ(std::string(text, sizeof text), "wrong\n");
}

TEST(Subprocess, StopsWithGraceWhenTheChildCooperates) {
  Pipe ready;
  auto child = Subprocess::start(
      {.command = {"sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"},
       .stdout_fd = ready.ends[1]});
  ASSERT_EQ(ready.line(), "ready");

  EXPECT_EQ(describe(child.stop(kLong)), "exit 7");
  EXPECT_EQ(describe(child.stop(kLong)), "exit 7");
}

TEST(Subprocess, KillsAChildThatDoesNotListen) {
  Pipe ready;
  auto child =
      Subprocess::start({.command = {"sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.01; done"},
                         .stdout_fd = ready.ends[1]});
  ASSERT_EQ(ready.line(), "ready");

  EXPECT_EQ(describe(child.stop(50)), "killed by SIGKILL");
}

TEST(Subprocess, KillsAStoppedChild) {
  auto child = Subprocess::start({.command = {"sleep", "1000"}});
  child.signal(SIGSTOP);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WSTOPPED | WNOWAIT), 0);

  EXPECT_EQ(describe(child.stop(20)), "killed by SIGKILL");
}

TEST(Subprocess, TakesItsGroupAlong) {
  Pipe pids;
  std::optional<Subprocess> child = Subprocess::start(
      {.command = {"sh", "-c", "sleep 1000 & echo $!; exec sleep 1000"}, .stdout_fd = pids.ends[1]});
  const Stranger helper(std::stoi(pids.line()));
  ASSERT_FALSE(helper.gone(0));

  child.reset();

  EXPECT_TRUE(helper.gone(5'000));
}

TEST(Subprocess, LeavesNobodyOfItsGroupWhenItEndsByItself) {
  Pipe pids;
  auto child =
      Subprocess::start({.command = {"sh", "-c", "sleep 1000 & echo $!"}, .stdout_fd = pids.ends[1]});
  const Stranger helper(std::stoi(pids.line()));

  EXPECT_TRUE(child.wait(kLong)->ok());
  EXPECT_TRUE(helper.gone(5'000));
}

TEST(Subprocess, MovesWithItsObjectAndEndsWhatItReplaces) {
  auto first = Subprocess::start({.command = {"sleep", "1000"}});
  auto second = Subprocess::start({.command = {"sleep", "1000"}});
  const Stranger old(first.pid());
  const pid_t kept = second.pid();

  first = std::move(second);

  EXPECT_TRUE(old.gone(5'000));
  EXPECT_EQ(first.pid(), kept);
  EXPECT_EQ(first.wait(0), std::nullopt);
}

// The supervisor's promise: SIGKILL leaves it no time to tidy up, so the kernel has to.
TEST(Subprocess, DiesWithAParentThatIsKilled) {
  Pipe pids;
  const pid_t parent = ::fork();
  if (parent == 0) {
    auto grandchild = Subprocess::start({.command = {"sleep", "1000"}});
    const auto line = std::to_string(grandchild.pid()) + "\n";
    if (::write(pids.ends[1], line.data(), line.size()) < 0) ::_exit(1);
    ::pause();
  }
  const Stranger grandchild(std::stoi(pids.line()));
  ASSERT_FALSE(grandchild.gone(0));

  ::kill(parent, SIGKILL);

  EXPECT_TRUE(grandchild.gone(5'000));
  ::waitpid(parent, nullptr, 0);
}

TEST(Subprocess, KnowsItsOwnProgram) {
  const TempFolder folder;
  auto copy =
      Subprocess::start({.command = {own_executable(), "--gtest_list_tests"}, .output = folder / "out"});
  EXPECT_TRUE(copy.wait(kLong)->ok());
  EXPECT_THAT(read_file(folder / "out"), HasSubstr("KnowsItsOwnProgram"));
}

TEST(DieWithParent, EndsAProcessWhoseParentIsAlreadyGone) {
  const pid_t child = ::fork();
  if (child == 0) {
    die_with_parent(::getpid());  // anybody but the parent
    ::_exit(42);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

}  // namespace
}  // namespace sluice
