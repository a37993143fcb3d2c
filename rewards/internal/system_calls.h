// Which system calls a sandboxed program may make.
#pragma once

#include <string>

namespace sluice::rewards::internal {

// A seccomp filter (a BPF program) that allows what programs compute, read and write with, kills with SIGSYS
// for what none of them does innocently (a network socket, ptrace, mount, ...), and answers the rest as if
// the kernel did not have it. `shared`: the program sees the processes and the terminal of others, so it may
// signal nobody and not leave its process group.
std::string system_call_filter(bool shared);

}  // namespace sluice::rewards::internal
