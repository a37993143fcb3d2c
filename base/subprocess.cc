#include "base/subprocess.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/internal/posix.h"

extern char** environ;

namespace sluice {
namespace {

namespace fs = std::filesystem;
using internal::errno_text;
using internal::retry;
using internal::UniqueFd;

constexpr Millis kExecTimeout = 60'000;  // an unreachable network file system can hold execve() back
constexpr Millis kKillTimeout = 10'000;  // after SIGKILL only the kernel can be slow
constexpr int kFirstOwn = 64;            // what the start itself needs lies above what a child may ask for

// What the child needs, made before fork(): after it, a child of a process with threads may not allocate.
struct Launch {
  std::string program;
  std::vector<std::string> environment;
  std::vector<char*> argv;
  std::vector<char*> envp;
  const char* working_directory = nullptr;
  int stdio[3] = {-1, -1, -1};              // -1: inherited
  std::vector<std::pair<int, int>> inputs;  // ours, the child's
  bool closed = false;
  std::string filter_bytes;
  sock_fprog filter{};  // of filter_bytes
  int report = -1;      // takes an ExecFailure; closed by a successful execve()
  pid_t parent = -1;
};

enum class Step : int { Directory, Descriptors, Filter, Exec };
struct ExecFailure {
  Step step;
  int error;
};

const char* step_name(Step step) {
  switch (step) {
    case Step::Directory:
      return "its working directory";
    case Step::Descriptors:
      return "its descriptors";
    case Step::Filter:
      return "its filter of system calls";
    case Step::Exec:
      return "the program";
  }
  return "";
}

// Waits until the descriptor is readable; false when the time is over.
bool wait_readable(int fd, Millis timeout_ms) {
  const SteadyClock clock;
  const Millis deadline_ms = clock.now_ms() + timeout_ms;
  while (true) {
    const Millis left_ms =
        std::clamp<Millis>(deadline_ms - clock.now_ms(), 0, std::numeric_limits<int>::max());
    pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(left_ms));
    if (ready > 0) return true;
    if (ready == 0 && deadline_ms <= clock.now_ms()) return false;
    require(ready == 0 || errno == EINTR, "Subprocess: poll failed: ", errno_text(errno));
  }
}

bool is_program(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error) && ::access(path.c_str(), X_OK) == 0;
}

// The file to execute. A name with a slash is taken from the parent's working directory.
std::string find_program(const std::string& name, const std::string& search_path) {
  if (name.find('/') != std::string::npos) return fs::absolute(name).string();
  for (size_t begin = 0; begin <= search_path.size();) {
    const size_t end = std::min(search_path.find(':', begin), search_path.size());
    const auto folder = search_path.substr(begin, end - begin);
    const auto candidate = fs::absolute(fs::path(folder.empty() ? "." : folder) / name);
    if (is_program(candidate)) return candidate.string();
    begin = end + 1;
  }
  fail<EnvironmentError>("cannot start '", name, "': not found on PATH (", search_path, ")");
}

std::map<std::string, std::string> merged_environment(const std::map<std::string, std::string>& added) {
  auto merged = added;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    merged.emplace(std::string(text.substr(0, equals)),
                   std::string(text.substr(equals + 1)));  // keeps what is there
  }
  return merged;
}

// Makes `fd` the standard stream `target`. Async-signal-safe.
bool place(int fd, int target) {
  if (fd < 0) return true;
  if (fd == target) return ::fcntl(fd, F_SETFD, 0) == 0;
  return retry([&] { return ::dup2(fd, target); }) == target;
}

// Async-signal-safe.
bool place_all(const Launch& launch) {
  for (int target = 0; target < 3; ++target) {
    if (!place(launch.stdio[target], target)) return false;
  }
  if (launch.closed && ::close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) != 0) return false;
  for (const auto& [ours, target] : launch.inputs) {
    if (!place(ours, target)) return false;
  }
  return true;
}

// Async-signal-safe.
bool install(const sock_fprog& filter) {
  return filter.len == 0 || (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                             ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0) == 0);
}

// A caught signal falls back to its default in execve(), an ignored one does not. Async-signal-safe.
void reset_signals() {
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGCHLD}) ::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::pthread_sigmask(SIG_SETMASK, &none, nullptr);
}

// The child between fork() and execve(): only async-signal-safe calls.
[[noreturn]] void run_child(const Launch& launch) {
  ::setpgid(0, 0);
  die_with_parent(launch.parent);
  reset_signals();
  ExecFailure failure{Step::Exec, 0};
  if (launch.working_directory != nullptr && ::chdir(launch.working_directory) != 0) {
    failure = {Step::Directory, errno};
  } else if (!place_all(launch)) {
    failure = {Step::Descriptors, errno};
  } else if (!install(launch.filter)) {
    failure = {Step::Filter, errno};
  } else {
    ::execve(launch.program.c_str(), launch.argv.data(), launch.envp.data());
    failure = {Step::Exec, errno};
  }
  const auto written = ::write(launch.report, &failure, sizeof failure);
  ::_exit(written == sizeof failure ? 127 : 126);
}

// fork() with every signal blocked, so that none of the parent's handlers runs in the child.
pid_t fork_child(const Launch& launch) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::fork();
  if (pid == 0) run_child(launch);
  const int error = errno;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  require<EnvironmentError>(pid > 0, "cannot start '", launch.program, "': fork failed: ", errno_text(error));
  return pid;
}

UniqueFd open_stream(const fs::path& file, int flags) {
  UniqueFd fd(retry([&] { return ::open(file.c_str(), flags | O_CLOEXEC, 0644); }));
  require<EnvironmentError>(fd.valid(), "Subprocess: cannot open ", file, ": ", errno_text(errno));
  return fd;
}

// The same file, at a number that no child asks for.
UniqueFd out_of_the_way(UniqueFd fd) {
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, kFirstOwn));
  require<EnvironmentError>(moved.valid(), "Subprocess: no descriptor is left: ", errno_text(errno));
  return moved;
}

// Memory that reads as these bytes, and that whoever holds it cannot change.
UniqueFd readable(const std::string& bytes) {
  UniqueFd fd(::memfd_create("sluice-input", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  require<EnvironmentError>(fd.valid(), "Subprocess: memfd_create failed: ", errno_text(errno));
  for (size_t done = 0; done < bytes.size();) {
    const ssize_t n = retry([&] { return ::write(fd.get(), bytes.data() + done, bytes.size() - done); });
    require<EnvironmentError>(n > 0, "Subprocess: cannot keep an input of ", bytes.size(),
                              " bytes: ", errno_text(errno));
    done += static_cast<size_t>(n);
  }
  ::lseek(fd.get(), 0, SEEK_SET);
  ::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  return out_of_the_way(std::move(fd));
}

}  // namespace

std::string describe(const ExitStatus& status) {
  if (status.signal == 0) return "exit " + std::to_string(status.code);
  const char* name = ::sigabbrev_np(status.signal);
  return name != nullptr ? std::string("killed by SIG") + name
                         : "killed by signal " + std::to_string(status.signal);
}

Subprocess Subprocess::start(const SubprocessOptions& options) {
  require(!options.command.empty() && !options.command[0].empty(), "Subprocess: an empty command");
  const std::string& name = options.command[0];
  const auto environment = merged_environment(options.environment);
  const auto path = environment.find("PATH");

  Launch launch;
  launch.program =
      find_program(name, path == environment.end() ? "/usr/local/bin:/usr/bin:/bin" : path->second);
  for (const auto& [key, value] : environment) launch.environment.push_back(key + "=" + value);
  for (const auto& word : options.command) launch.argv.push_back(const_cast<char*>(word.c_str()));
  for (auto& entry : launch.environment) launch.envp.push_back(entry.data());
  launch.argv.push_back(nullptr);
  launch.envp.push_back(nullptr);
  if (!options.working_directory.empty()) launch.working_directory = options.working_directory.c_str();
  launch.parent = ::getpid();

  std::vector<UniqueFd> inputs;
  for (const auto& [number, bytes] : options.inputs) {
    require(number == 0 || (number > 2 && number < kFirstOwn), "Subprocess: an input at descriptor ", number);
    require(number != 0 || options.stdin_fd < 0, "Subprocess: two inputs at descriptor 0");
    inputs.push_back(readable(bytes));
    launch.inputs.emplace_back(inputs.back().get(), number);
  }
  launch.closed = options.closed;
  launch.filter_bytes = options.system_call_filter;
  require(launch.filter_bytes.size() % sizeof(sock_filter) == 0, "Subprocess: a filter of ",
          launch.filter_bytes.size(), " bytes");
  launch.filter.len = static_cast<unsigned short>(launch.filter_bytes.size() / sizeof(sock_filter));
  launch.filter.filter = reinterpret_cast<sock_filter*>(launch.filter_bytes.data());

  UniqueFd output;
  UniqueFd nothing;
  if (!options.output.empty()) output = open_stream(options.output, O_WRONLY | O_CREAT | O_APPEND);
  if (options.stdin_fd < 0) nothing = open_stream("/dev/null", O_RDONLY);
  launch.stdio[0] = options.stdin_fd >= 0 ? options.stdin_fd : nothing.get();
  launch.stdio[1] = options.stdout_fd >= 0 ? options.stdout_fd : output.get();
  launch.stdio[2] = options.stderr_fd >= 0 ? options.stderr_fd : output.get();

  int ends[2];
  const bool piped = ::pipe2(ends, O_CLOEXEC) == 0;
  require<EnvironmentError>(piped, "cannot start '", name, "': ", errno_text(errno));
  const UniqueFd report(ends[0]);
  UniqueFd child_report = out_of_the_way(UniqueFd(ends[1]));
  launch.report = child_report.get();

  Subprocess child;
  child.pid_ = fork_child(launch);
  child_report.reset();
  // Not reaped yet, so the number cannot belong to anybody else. The descriptor is close-on-exec by itself.
  child.pidfd_ = static_cast<int>(::syscall(SYS_pidfd_open, child.pid_, 0));
  if (child.pidfd_ < 0) {
    const int error = errno;
    ::kill(child.pid_, SIGKILL);
    retry([&] { return ::waitpid(child.pid_, nullptr, 0); });
    child.pid_ = -1;
    fail<EnvironmentError>("cannot start '", name, "': pidfd_open failed: ", errno_text(error));
  }

  require<EnvironmentError>(wait_readable(report.get(), kExecTimeout), "cannot start '", name,
                            "': waited 60 s for ", launch.program, " to be loaded");
  ExecFailure failure{};
  const ssize_t n = retry([&] { return ::read(report.get(), &failure, sizeof failure); });
  require<EnvironmentError>(
      n == 0, "cannot start '", name, "': ", step_name(failure.step), " (",
      failure.step == Step::Directory ? options.working_directory.string() : launch.program,
      "): ", errno_text(failure.error));
  return child;
}

Subprocess::Subprocess(Subprocess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::exchange(other.pidfd_, -1)),
      status_(std::exchange(other.status_, std::nullopt)) {}

Subprocess& Subprocess::operator=(Subprocess&& other) noexcept {
  if (this == &other) return *this;
  end();
  pid_ = std::exchange(other.pid_, -1);
  pidfd_ = std::exchange(other.pidfd_, -1);
  status_ = std::exchange(other.status_, std::nullopt);
  return *this;
}

Subprocess::~Subprocess() { end(); }

std::optional<ExitStatus> Subprocess::wait(Millis timeout_ms) {
  require(pid_ > 0, "Subprocess: waiting for a process that was moved away");
  if (!status_ && wait_readable(pidfd_, timeout_ms)) reap();
  return status_;
}

// The child has ended. As long as it is not reaped its number, which is also the group's, cannot be given to
// anybody else: so the rest of the group is killed first.
void Subprocess::reap() {
  ::kill(-pid_, SIGKILL);
  int raw = 0;
  const pid_t reaped = retry([&] { return ::waitpid(pid_, &raw, 0); });
  require(reaped == pid_, "Subprocess: process ", pid_, " was reaped by somebody else: ", errno_text(errno));
  status_ = WIFSIGNALED(raw) ? ExitStatus{.code = 0, .signal = WTERMSIG(raw)}
                             : ExitStatus{.code = WEXITSTATUS(raw), .signal = 0};
}

void Subprocess::signal(int number) const {
  if (pidfd_ >= 0 && !status_) ::syscall(SYS_pidfd_send_signal, pidfd_, number, nullptr, 0);
}

void Subprocess::signal_group(int number) const {
  if (pid_ > 0 && !status_) ::kill(-pid_, number);
}

ExitStatus Subprocess::stop(Millis grace_ms) {
  signal(SIGTERM);
  if (wait(grace_ms)) return *status_;
  signal_group(SIGKILL);
  require(wait(kKillTimeout).has_value(), "Subprocess: process ", pid_, " did not end within ", kKillTimeout,
          " ms of SIGKILL");
  return *status_;
}

void Subprocess::end() noexcept {
  if (pid_ > 0 && !status_) {
    signal_group(SIGKILL);
    try {
      wait(kKillTimeout);
    } catch (const std::exception&) {
      // Nothing is left to kill, and a destructor has nobody to tell.
    }
  }
  if (pidfd_ >= 0) ::close(pidfd_);
  pid_ = -1;
  pidfd_ = -1;
  status_.reset();
}

fs::path own_executable() {
  const fs::path self = "/proc/self/exe";
  std::error_code error;
  auto path = fs::read_symlink(self, error);
  // The link itself still starts this very program when its file was replaced under it by a new build.
  return error || !fs::exists(path, error) ? self : path;
}

void die_with_parent(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have ended before the line above.
  if (::getppid() != parent) ::_exit(1);
}

}  // namespace sluice
