// Memory of a thread for one call of a kernel.
#pragma once

#include <cstdint>

namespace sluice::model::cpu {

// Numbers [count] of the calling thread, where a line of the cache begins, until its next call. It keeps as
// many as it has ever asked for.
float* thread_scratch(int64_t count);

}  // namespace sluice::model::cpu
