// What a recipe may give to a reward of its own, whatever its kind.
#pragma once

#include <cstdint>

#include "rewards/internal/scorers.h"

namespace sluice::rewards::plugins {

inline constexpr int64_t kMaxRetries = 10;
inline constexpr int64_t kMaxTimeoutMs = 3'600'000;

// The option, or `fallback` where it is not given. Throws UsageError outside the bounds.
inline int64_t bounded(const RewardSpec& spec, const char* key, int64_t fallback, int64_t least,
                       int64_t most) {
  const auto value = internal::option<int64_t>(spec, key, fallback);
  require<UsageError>(value >= least && value <= most, internal::speaker(spec), ": ", key, " is ", value,
                      "; it goes from ", least, " to ", most);
  return value;
}

}  // namespace sluice::rewards::plugins
