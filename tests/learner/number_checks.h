// Plain numbers of the specification's examples.
#pragma once

#include <gtest/gtest.h>

#include <vector>

#include "tests/spec_example.h"

namespace sluice::learner {

inline std::vector<double> numbers(const Json& example, const char* part, const char* key) {
  return example[part][key].get<std::vector<double>>();
}

inline void expect_near(const std::vector<double>& values, const std::vector<double>& expected) {
  ASSERT_EQ(values.size(), expected.size());
  for (size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 1e-9) << "at " << i;
}

}  // namespace sluice::learner
