// How much memory this process has.
#pragma once

#include <cstdint>

namespace sluice {

// Its pages that are in memory now, in bytes.
int64_t resident_bytes();

}  // namespace sluice
