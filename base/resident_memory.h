// How much memory this process has.
#pragma once

#include <cstdint>

namespace sluice {

// Its pages that are in memory now, in bytes.
int64_t resident_bytes();

// The most that there have been since its program was executed. What getrusage() says counts the process it
// was forked from too.
int64_t peak_resident_bytes();

}  // namespace sluice
