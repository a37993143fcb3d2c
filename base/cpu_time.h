// Time that a process has computed, as /proc tells it.
#pragma once

#include <sys/types.h>

namespace sluice {

// Seconds of processor that a process has used, to a tick of the system; 0 when it is gone.
double cpu_seconds(pid_t pid);

// Whether a thread of it computes or would, had it a processor: not one that waits or is stopped.
bool is_runnable(pid_t pid);

}  // namespace sluice
