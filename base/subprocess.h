// A child process in a process group of its own that never outlives its parent.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"

namespace sluice {

struct SubprocessOptions {
  std::vector<std::string> command;                // program and arguments; the program is looked up on PATH
  std::map<std::string, std::string> environment;  // added to the parent's
  std::filesystem::path working_directory;         // empty: the parent's
  std::filesystem::path output;                    // stdout and stderr are appended here; empty: inherited
  // Descriptors lent for the start. Without them stdin is /dev/null, since a process group of its own may not
  // read the terminal, and stdout and stderr are what `output` says.
  int stdin_fd = -1;
  int stdout_fd = -1;
  int stderr_fd = -1;
  // Descriptors of the child's (0 and 3 to 63), and what it reads there up to the end.
  std::map<int, std::string> inputs;
  // Nothing is inherited besides 0 to 2 and `inputs`, whatever its O_CLOEXEC.
  bool closed = false;
  // The child runs under this seccomp filter (a BPF program) and with PR_SET_NO_NEW_PRIVS; empty: neither.
  std::string system_call_filter;
};

// How a child ended: an exit status, or the signal that killed it.
struct ExitStatus {
  int code = 0;  // meaningful when signal is 0
  int signal = 0;
  bool ok() const { return code == 0 && signal == 0; }
};
std::string describe(const ExitStatus& status);  // "exit 3", "killed by SIGKILL"

// The child gets a clean signal mask and, of this process's descriptors, 0 to 2 and, unless `closed`, those
// without O_CLOEXEC: in Sluice that is the FileLock's alone. Whatever is left of its group is killed when it
// ends.
//
// Must be started from a thread that lives as long as the process: the kernel ties the parent-death signal to
// the thread. The destructor kills the whole group and reaps it.
class Subprocess {
 public:
  // Throws EnvironmentError when the program cannot be started (not found, not executable).
  static Subprocess start(const SubprocessOptions& options);

  Subprocess(Subprocess&&) noexcept;
  Subprocess& operator=(Subprocess&&) noexcept;
  ~Subprocess();

  pid_t pid() const { return pid_; }
  // Readable once the child has ended; for poll().
  int pidfd() const { return pidfd_; }
  // The status if it has ended by now or within the time. Waits on the pidfd.
  std::optional<ExitStatus> wait(Millis timeout_ms);
  void signal(int number) const;  // to the child alone; nothing when it has ended
  void signal_group(int number) const;
  // SIGTERM to the child, so that it ends its own children in order, then SIGKILL to the group after
  // `grace_ms`. Returns how it ended; throws Error when not even that ends it.
  ExitStatus stop(Millis grace_ms);

 private:
  Subprocess() = default;
  void end() noexcept;
  void reap();
  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::optional<ExitStatus> status_;
};

// The path of the running program, for starting its other roles.
std::filesystem::path own_executable();

// Has the kernel kill this process when its parent ends, and exits at once if the parent is not `parent` any
// more; called by a child right after it starts.
void die_with_parent(pid_t parent);

}  // namespace sluice
