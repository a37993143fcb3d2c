// Mean and spread of plain numbers, in float64.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sluice::learner::internal {

inline constexpr double kWhitenEps = 1e-8;  // added to the variance of tokens

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

// NAME/mean, std, min and max; nothing of nothing.
inline void report_spread(const std::string& name, const std::vector<double>& values,
                          std::map<std::string, double>& metrics) {
  if (values.empty()) return;
  metrics[name + "/mean"] = mean_of(values);
  metrics[name + "/std"] = std_of(values);
  metrics[name + "/min"] = std::ranges::min(values);
  metrics[name + "/max"] = std::ranges::max(values);
}

}  // namespace sluice::learner::internal
