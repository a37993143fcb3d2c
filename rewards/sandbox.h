// Running what nobody vouches for: code that a policy wrote, or a plug-in that asks for it.
//
// What each level holds back, and what it does not, is in docs/sandbox.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/subprocess.h"

namespace sluice::rewards {

// From less to more. Limits: bounds on what is used, a filter of system calls, nothing of the environment and
// of the descriptors. Namespaces: moreover a file system, a network and process numbers of its own
// (bubblewrap).
enum class SandboxLevel { None, Limits, Namespaces };
std::string_view sandbox_name(SandboxLevel level);  // as a recipe says it: "none", "limits", "namespaces"
// Throws UsageError naming `who` for any other word.
SandboxLevel sandbox_level(const std::string& name, const std::string& who);

struct SandboxLimits {
  int64_t cpu_s = 10;                  // of each process
  uint64_t memory_bytes = 1ull << 30;  // of address space, each process; all together in a control group
  int64_t processes = 16;              // and threads
  uint64_t file_bytes = 64ull << 20;   // each file; in namespaces also all of /tmp together
};

struct SandboxPolicy {
  SandboxLevel level = SandboxLevel::Namespaces;
  SandboxLimits limits = {};
  // In namespaces: files and folders it sees at their own places, besides /usr and the program itself.
  std::vector<std::filesystem::path> readable = {};
  // A folder it may write in, at its own place and given to it as its own; empty: none. In namespaces there
  // is a private /tmp anyway.
  std::filesystem::path folder = {};
};

// The same start, held to the policy. Started as root it runs as a user of its own. Its environment is what
// the start adds and a PATH; it works in the start's working directory, else in the folder, else in /tmp. Its
// descriptors are 0 to 2 and the start's inputs, which lie below 60. Wall time and output are the caller's to
// bound (run_captured). Throws DataError when something to be read is not there.
SubprocessOptions sandboxed(SubprocessOptions start, const SandboxPolicy& policy);

// How a sandboxed program ended.
enum class SandboxEnd {
  Done,       // exit 0
  Failed,     // another exit
  Crashed,    // by a signal that is none of these
  Denied,     // made a system call that the sandbox answers with SIGSYS
  CpuLimit,   // used up its processor time
  FileLimit,  // wrote more to a file than it may
  Killed,     // by SIGKILL: its caller, or the system for want of memory
};
SandboxEnd sandbox_end(const ExitStatus& status, SandboxLevel level);
std::string describe(SandboxEnd end);

// The highest level that works on this machine, found out by running something in it.
struct SandboxSupport {
  SandboxLevel level = SandboxLevel::None;
  std::string why_not_more;           // the reason, and what helps; empty at the highest
  std::string control_groups;         // where each sandbox above None gets one of its own; empty: none do,
  std::string why_no_control_groups;  // for this reason
};
SandboxSupport probe_sandbox();
const SandboxSupport& sandbox_support();  // probed once

// Throws EnvironmentError naming `who` when the machine gives less than the level. Nothing is probed for
// None.
void require_sandbox(SandboxLevel level, const std::string& who);
void require_sandbox(SandboxLevel level, const std::string& who, const SandboxSupport& support);

}  // namespace sluice::rewards
