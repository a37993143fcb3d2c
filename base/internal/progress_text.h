// The words of a progress line, apart from where and when it is drawn.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sluice::internal {

// "what  1,500/6,000 (25%)  50.0/s  1m 30s left  detail"; a `total` of 0 is unknown.
std::string progress_text(std::string_view what, int64_t done, int64_t total, Millis elapsed_ms,
                          std::string_view detail);

// At most `columns` characters, counted as code points; control characters become '?'.
std::string one_line(std::string_view text, size_t columns);

}  // namespace sluice::internal
