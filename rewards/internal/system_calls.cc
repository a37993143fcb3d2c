#include "rewards/internal/system_calls.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <sstream>
#include <string_view>

#include "base/error.h"
#include "base/pipe.h"

namespace sluice::rewards::internal {
namespace {

constexpr std::string_view kAllowed =
    // files
    "access chdir chmod chown close close_range copy_file_range creat dup dup2 dup3 faccessat "
    "faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchown fchownat fdatasync fgetxattr "
    "flistxattr flock fstat fstatfs fsync ftruncate futimesat getcwd getdents getdents64 getxattr "
    "inotify_add_watch inotify_init inotify_init1 inotify_rm_watch lchown lgetxattr link linkat "
    "listxattr llistxattr lseek lstat mkdir mkdirat newfstatat open openat openat2 pread64 preadv "
    "preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv rename renameat "
    "renameat2 rmdir sendfile splice stat statfs statx symlink symlinkat sync_file_range tee truncate "
    "umask unlink unlinkat utime utimensat utimes write writev "
    // memory
    "brk madvise membarrier mincore mlock mlock2 mmap mprotect mremap msync munlock munmap "
    // waiting, and pairs of sockets
    "epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 "
    "getpeername getsockname getsockopt pipe pipe2 poll ppoll pselect6 recvfrom recvmsg select sendmsg "
    "sendto setsockopt shutdown signalfd signalfd4 timerfd_create timerfd_gettime timerfd_settime "
    // processes and threads; the set*id calls are for setpriv, which takes all of root's rights away
    "arch_prctl capget capset execve execveat exit exit_group fork futex futex_waitv get_robust_list "
    "getcpu getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getresgid "
    "getresuid getrlimit getrusage getsid gettid getuid prctl restart_syscall rseq "
    "sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getparam sched_getscheduler "
    "sched_rr_get_interval sched_yield set_robust_list set_tid_address setfsgid setfsuid setgid "
    "setgroups setregid setresgid setresuid setreuid setrlimit setuid sysinfo times uname vfork wait4 "
    "waitid "
    // signals to itself, time, chance
    "alarm clock_getres clock_gettime clock_nanosleep getitimer getrandom gettimeofday nanosleep pause "
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait setitimer "
    "sigaltstack time timer_create timer_delete timer_getoverrun timer_gettime timer_settime ";

// Reach other processes, which in namespaces are the sandbox's own.
constexpr std::string_view kReaching =
    "kill pidfd_open pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo sched_setaffinity "
    "sched_setparam sched_setscheduler setpgid setpriority setsid tgkill tkill ";

// Nobody comes to these by chance: a program that tries is reported.
constexpr std::string_view kTelling =
    "acct add_key bpf chroot delete_module finit_module fsmount fsopen init_module ioperm iopl "
    "kexec_file_load kexec_load keyctl mknod mknodat mount move_mount name_to_handle_at "
    "open_by_handle_at open_tree perf_event_open pidfd_getfd pivot_root process_vm_readv "
    "process_vm_writev ptrace quotactl reboot request_key setdomainname sethostname setns swapoff "
    "swapon umount2 unshare userfaultfd ";

// Not TIOCSTI, which types into the terminal of whoever started the run, nor what sets a receiver of signals.
constexpr unsigned long kIoctls[] = {TCGETS, TIOCGWINSZ, TIOCGPGRP, FIONREAD, FIONBIO, FIOCLEX, FIONCLEX};

constexpr uint64_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

class Filter {
 public:
  Filter() : context_(seccomp_init(SCMP_ACT_ERRNO(ENOSYS)), seccomp_release) {
    require<EnvironmentError>(context_ != nullptr, "sandbox: seccomp_init failed");
    set(SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    set(SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree: a call is found in eight comparisons, not in two hundred
  }

  template <class... Conditions>
  void add(uint32_t action, const char* call, Conditions... conditions) {
    const int number = seccomp_syscall_resolve_name(call);
    if (number < 0) return;  // not on this processor
    const scmp_arg_cmp all[] = {conditions..., {}};
    const int error = seccomp_rule_add_array(context_.get(), action, number, sizeof...(conditions), all);
    require<EnvironmentError>(error == 0, "sandbox: no rule for ", call, ": error ", -error);
  }

  void add_all(uint32_t action, std::string_view calls) {
    std::istringstream words{std::string(calls)};
    for (std::string call; words >> call;) add(action, call.c_str());
  }

  // A few thousand bytes, less than a pipe holds.
  std::string program() const {
    Pipe pipe;
    const int error = seccomp_export_bpf(context_.get(), pipe.write_end());
    require<EnvironmentError>(error == 0, "sandbox: seccomp_export_bpf failed: error ", -error);
    pipe.close_write();
    std::string bytes;
    std::array<char, 4096> chunk;
    for (ssize_t n = 0; (n = ::read(pipe.read_end(), chunk.data(), chunk.size())) > 0;) {
      bytes.append(chunk.data(), static_cast<size_t>(n));
    }
    return bytes;
  }

 private:
  void set(scmp_filter_attr attribute, uint32_t value) {
    const int error = seccomp_attr_set(context_.get(), attribute, value);
    require<EnvironmentError>(error == 0, "sandbox: seccomp_attr_set failed: error ", -error);
  }

  std::unique_ptr<void, decltype(&seccomp_release)> context_;
};

}  // namespace

std::string system_call_filter(bool shared) {
  Filter filter;
  filter.add_all(SCMP_ACT_ALLOW, kAllowed);
  filter.add_all(SCMP_ACT_KILL_PROCESS, kTelling);
  filter.add_all(shared ? SCMP_ACT_ERRNO(EPERM) : SCMP_ACT_ALLOW, kReaching);
  // Its own limits, to ask for and to lower.
  filter.add(SCMP_ACT_ALLOW, "prlimit64", SCMP_A0(SCMP_CMP_EQ, 0));
  for (const auto request : kIoctls) filter.add(SCMP_ACT_ALLOW, "ioctl", SCMP_A1(SCMP_CMP_EQ, request));
  // Up to F_SETLKW and from F_OFD_GETLK on: not F_SETOWN.
  filter.add(SCMP_ACT_ALLOW, "fcntl", SCMP_A1(SCMP_CMP_LE, F_SETLKW));
  filter.add(SCMP_ACT_ALLOW, "fcntl", SCMP_A1(SCMP_CMP_GE, F_OFD_GETLK));
  // In clone3() flags lie where no filter sees them: a C library that is told there is none takes clone().
  filter.add(SCMP_ACT_ALLOW, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, kNewNamespaces, 0));
  filter.add(SCMP_ACT_ALLOW, "socketpair", SCMP_A0(SCMP_CMP_EQ, AF_UNIX),
             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xf, SOCK_STREAM));
  // The C library asks for the name service's socket and does without.
  filter.add(SCMP_ACT_ERRNO(EACCES), "socket", SCMP_A0(SCMP_CMP_EQ, AF_UNIX));
  filter.add(SCMP_ACT_KILL_PROCESS, "socket", SCMP_A0(SCMP_CMP_NE, AF_UNIX));
  return filter.program();
}

}  // namespace sluice::rewards::internal
