#include "rewards/sandbox.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <optional>

#include "base/captured_run.h"
#include "base/error.h"
#include "base/nearest.h"
#include "base/quoted_name.h"
#include "rewards/internal/control_group.h"
#include "rewards/internal/system_calls.h"

namespace sluice::rewards {
namespace {

namespace fs = std::filesystem;

using Words = std::vector<std::string>;

constexpr std::array<std::string_view, 3> kNames = {"none", "limits", "namespaces"};
constexpr const char* kPath = "PATH=/usr/local/bin:/usr/bin:/bin";
constexpr int kFilterFd = 63;  // where bubblewrap reads the filter
constexpr int64_t kOpenFiles = 256;
constexpr Millis kProbeMs = 10'000;
// Numbers that Linux distributions leave to users that exist for a moment (systemd's DynamicUser).
constexpr uid_t kFirstUser = 61184, kUsers = 65520 - kFirstUser;

const std::string& filter_of(SandboxLevel level) {
  static const std::string shared = internal::system_call_filter(/*shared=*/true);
  static const std::string alone = internal::system_call_filter(/*shared=*/false);
  return level == SandboxLevel::Limits ? shared : alone;
}

void append(Words& words, Words more) {
  words.insert(words.end(), std::make_move_iterator(more.begin()), std::make_move_iterator(more.end()));
}

bool is_root() { return ::geteuid() == 0; }

// Root's sandboxes share no user, so that one cannot reach another and processes are counted for each.
uid_t user_of_its_own() {
  static std::atomic<uid_t> started = 0;
  return kFirstUser + (static_cast<uid_t>(::getpid()) * 61 + started++) % kUsers;
}

// The threads of all processes of this user: where a user is shared, its limit counts them too.
int64_t threads_of_user() {
  int64_t threads = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    struct stat info {};
    if (::stat(entry.path().c_str(), &info) != 0 || info.st_uid != ::geteuid()) continue;
    for (fs::directory_iterator task(entry.path() / "task", error), end; !error && task != end;
         task.increment(error)) {
      ++threads;
    }
  }
  return threads;
}

Words limit_words(const SandboxLimits& limits, int64_t processes) {
  const auto both = [](auto value) { return std::to_string(value) + ":" + std::to_string(value); };
  return {"prlimit",
          // SIGXCPU first, which tells what happened
          "--cpu=" + std::to_string(limits.cpu_s) + ":" + std::to_string(limits.cpu_s + 1),
          "--as=" + both(limits.memory_bytes), "--fsize=" + both(limits.file_bytes),
          "--nproc=" + both(processes), "--nofile=" + both(kOpenFiles), "--core=0:0", "--"};
}

Words user_words(uid_t user) {
  const std::string id = std::to_string(user);
  return {"setpriv",         "--reuid=" + id,       "--regid=" + id,   "--clear-groups",
          "--inh-caps=-all", "--bounding-set=-all", "--pdeathsig=KILL"};
}

bool is_below(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

// A mount of `path` at its own place. The folders above it are made first: otherwise bubblewrap makes them as
// closed as they are here, and nobody but their owner could pass.
Words mount_words(const std::string& how, const fs::path& path) {
  Words words;
  fs::path above = "/";
  for (const auto& part : path.parent_path().relative_path()) {
    above /= part;
    append(words, {"--dir", above.string()});
  }
  append(words, {how, path.string(), path.string()});
  return words;
}

// /usr, and what leads into it: on most systems /bin, /lib and the like are links.
Words system_words() {
  Words words = {"--ro-bind", "/usr", "/usr"};
  for (const char* name : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    std::error_code error;
    if (fs::is_symlink(name, error)) {
      append(words, {"--symlink", fs::read_symlink(name, error).string(), name});
    } else {
      append(words, {"--ro-bind-try", name, name});
    }
  }
  for (const char* file : {"/etc/ld.so.cache", "/etc/alternatives"}) {
    append(words, {"--ro-bind-try", file, file});
  }
  return words;
}

Words namespace_words(const SandboxPolicy& policy, const fs::path& program, const fs::path& directory) {
  Words words = {"env",
                 "-i",
                 kPath,
                 "bwrap",
                 "--unshare-ipc",
                 "--unshare-pid",
                 "--unshare-net",
                 "--unshare-uts",
                 "--unshare-cgroup-try",
                 "--die-with-parent",
                 "--new-session",
                 "--hostname",
                 "sandbox",
                 "--seccomp",
                 std::to_string(kFilterFd)};
  // Root has the right to the other namespaces, and becomes somebody else in them.
  if (!is_root()) append(words, {"--unshare-user", "--uid", "1000", "--gid", "1000"});
  append(words, system_words());
  const std::string size = std::to_string(policy.limits.file_bytes);
  append(words, {"--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", size, "--tmpfs", "/dev/shm",
                 "--remount-ro", "/dev", "--perms", "1777", "--size", size, "--tmpfs", "/tmp"});
  auto readable = policy.readable;
  if (program.is_absolute()) readable.push_back(program);
  for (const auto& path : readable) {
    const auto absolute = fs::absolute(path).lexically_normal();
    require<DataError>(fs::exists(absolute), "sandbox: ", absolute, " is to be read, and is not there");
    if (!is_below(absolute, "/usr")) append(words, mount_words("--ro-bind", absolute));
  }
  if (!policy.folder.empty()) {
    append(words, mount_words("--bind", fs::absolute(policy.folder).lexically_normal()));
  }
  append(words, {"--remount-ro", "/", "--chdir", directory.string(), "--"});
  return words;
}

// Runs a program in the level and looks at what the kernel says of it. "" when it is as it should be.
std::string problem_of(SandboxLevel level) {
  try {
    const auto run = run_captured(sandboxed({.command = {"cat", "/proc/self/status"}}, {.level = level}),
                                  {.wall_ms = kProbeMs});
    if (run.timed_out) return "cat did not end within " + std::to_string(kProbeMs / 1000) + " s";
    if (!run.status || !run.status->ok()) {
      const std::string line = run.errors.substr(0, run.errors.find('\n'));
      return line.empty() && run.status ? "cat ended with " + describe(*run.status) : line;
    }
    for (const char* line : {"\nNoNewPrivs:\t1\n", "\nSeccomp:\t2\n", "\nCapEff:\t0000000000000000\n"}) {
      if (run.output.find(line) == std::string::npos)
        return "a program in it runs without " + quoted_name(line);
    }
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

std::string_view sandbox_name(SandboxLevel level) { return kNames.at(static_cast<size_t>(level)); }

SandboxLevel sandbox_level(const std::string& name, const std::string& who) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) {
    fail<UsageError>(who, ": sandbox is \"none\", \"limits\" or \"namespaces\", saw \"", name, "\"",
                     did_you_mean(name, kNames));
  }
  return static_cast<SandboxLevel>(found - kNames.begin());
}

SubprocessOptions sandboxed(SubprocessOptions start, const SandboxPolicy& policy) {
  require(!start.command.empty(), "sandbox: an empty command");
  if (policy.level == SandboxLevel::None) return start;
  const bool alone = policy.level == SandboxLevel::Namespaces;
  fs::path program = start.command[0];
  if (program.has_parent_path()) start.command[0] = program = fs::absolute(program).lexically_normal();
  fs::path directory = start.working_directory;
  if (directory.empty()) directory = policy.folder.empty() ? fs::path("/tmp") : fs::absolute(policy.folder);

  Words words;
  if (alone) words = namespace_words(policy, program, directory);
  int64_t processes = policy.limits.processes;
  if (is_root()) {
    const uid_t user = user_of_its_own();
    if (!policy.folder.empty()) {
      const bool given = ::chown(policy.folder.c_str(), user, user) == 0;
      require<EnvironmentError>(given, "sandbox: cannot give ", policy.folder, " to user ", user);
    }
    append(words, user_words(user));
  } else if (!alone) {
    processes += threads_of_user();
  }
  append(words, limit_words(policy.limits, processes));
  append(words, {"env", "-i", kPath, "LANG=C.UTF-8", "HOME=/tmp"});
  for (const auto& [key, value] : start.environment) words.push_back(key + "=" + value);
  append(words, std::move(start.command));

  const auto& groups = internal::control_groups();
  start.command =
      groups.place.empty()
          ? Words()
          : internal::control_group_words(groups.place, policy.limits.memory_bytes, policy.limits.processes);
  append(start.command, std::move(words));
  start.environment.clear();
  start.working_directory = alone ? fs::path("/") : directory;
  start.closed = true;
  if (alone) {
    start.inputs[kFilterFd] = filter_of(policy.level);
  } else {
    start.system_call_filter = filter_of(policy.level);
  }
  return start;
}

SandboxEnd sandbox_end(const ExitStatus& status, SandboxLevel level) {
  // bubblewrap and prlimit are in between: a signal comes out as a shell says it.
  const int signal =
      level == SandboxLevel::Namespaces && status.code > 128 ? status.code - 128 : status.signal;
  switch (signal) {
    case 0:
      return status.code == 0 ? SandboxEnd::Done : SandboxEnd::Failed;
    case SIGSYS:
      return SandboxEnd::Denied;
    case SIGXCPU:
      return SandboxEnd::CpuLimit;
    case SIGXFSZ:
      return SandboxEnd::FileLimit;
    case SIGKILL:
      return SandboxEnd::Killed;
    default:
      return SandboxEnd::Crashed;
  }
}

std::string describe(SandboxEnd end) {
  switch (end) {
    case SandboxEnd::Done:
      return "done";
    case SandboxEnd::Failed:
      return "failed";
    case SandboxEnd::Crashed:
      return "crashed";
    case SandboxEnd::Denied:
      return "made a system call that the sandbox denies";
    case SandboxEnd::CpuLimit:
      return "used up its processor time";
    case SandboxEnd::FileLimit:
      return "wrote more to a file than it may";
    case SandboxEnd::Killed:
      return "was killed";
  }
  return "";
}

SandboxSupport probe_sandbox() {
  const auto& groups = internal::control_groups();
  SandboxSupport support{.control_groups = groups.place.string(), .why_no_control_groups = groups.why_not};
  const std::string namespaces = problem_of(SandboxLevel::Namespaces);
  if (namespaces.empty()) {
    support.level = SandboxLevel::Namespaces;
    return support;
  }
  const std::string advice =
      "namespaces: " + namespaces +
      " (it needs bubblewrap, apt-get install bubblewrap, and the right to make user namespaces: sysctl "
      "kernel.unprivileged_userns_clone=1; in a container a seccomp profile that allows them)";
  const std::string limits = problem_of(SandboxLevel::Limits);
  if (limits.empty()) support.level = SandboxLevel::Limits;
  support.why_not_more = limits.empty() ? advice : "limits: " + limits + "; " + advice;
  return support;
}

const SandboxSupport& sandbox_support() {
  static const SandboxSupport support = probe_sandbox();
  return support;
}

void require_sandbox(SandboxLevel level, const std::string& who) {
  if (level != SandboxLevel::None) require_sandbox(level, who, sandbox_support());
}

void require_sandbox(SandboxLevel level, const std::string& who, const SandboxSupport& support) {
  require<EnvironmentError>(level <= support.level, who, ": sandbox = \"", sandbox_name(level),
                            "\" is not to be had here, this machine gives \"", sandbox_name(support.level),
                            "\": ", support.why_not_more,
                            "; see `sluice doctor`, or accept less with sandbox = \"",
                            sandbox_name(support.level), "\"");
}

}  // namespace sluice::rewards
