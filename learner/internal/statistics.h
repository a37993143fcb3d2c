// Mean and spread of plain numbers, in float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace sluice::learner::internal {

// 0 of nothing.
inline double mean_of(const std::vector<double>& values) {
  double sum = 0.0;
  for (const double value : values) sum += value;
  return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

inline bool all_equal(const std::vector<double>& values) {
  return std::ranges::adjacent_find(values, std::not_equal_to<>()) == values.end();
}

// Divides by n - 1, or by n for the population's; exactly 0 when all values are equal.
inline double std_of(const std::vector<double>& values, bool population = false) {
  if (all_equal(values)) return 0.0;
  const double mean = mean_of(values);
  double sum = 0.0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - (population ? 0 : 1)));
}

}  // namespace sluice::learner::internal
