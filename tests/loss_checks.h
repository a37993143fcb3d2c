// What the tests of losses share: tensors of plain numbers, and what is expected of values and gradients.
#pragma once

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace sluice {

inline at::Tensor constant(const std::vector<double>& values) { return at::tensor(values, at::kDouble); }
inline at::Tensor trained(const std::vector<double>& values, at::ScalarType type = at::kDouble) {
  return constant(values).to(type).requires_grad_();
}

// `absolute` is for numbers near 0, which are differences of larger ones.
struct Tolerance {
  double relative = 1e-9, absolute = 1e-15;
};
inline constexpr Tolerance kFloat32{.relative = 1e-5, .absolute = 1e-7};

inline void expect_near(double value, double expected, const Tolerance& tolerance = {}) {
  EXPECT_NEAR(value, expected, tolerance.relative * std::abs(expected) + tolerance.absolute);
}

inline void expect_near(const at::Tensor& values, const std::vector<double>& expected,
                        const Tolerance& tolerance = {}) {
  ASSERT_EQ(values.numel(), std::ssize(expected));
  for (size_t i = 0; i < expected.size(); ++i) {
    SCOPED_TRACE("at " + std::to_string(i));
    expect_near(values[static_cast<int64_t>(i)].item<double>(), expected[i], tolerance);
  }
}

// Compares the gradient of a scalar function of float64 numbers with central differences.
inline void expect_gradient(const std::function<at::Tensor(const at::Tensor&)>& loss_of,
                            const std::vector<double>& at_values) {
  const auto values = trained(at_values);
  loss_of(values).backward();
  constexpr double kStep = 1e-6;
  std::vector<double> differences;
  for (size_t i = 0; i < at_values.size(); ++i) {
    auto up = at_values, down = at_values;
    up[i] += kStep;
    down[i] -= kStep;
    differences.push_back((loss_of(constant(up)).item<double>() - loss_of(constant(down)).item<double>()) /
                          (2 * kStep));
  }
  expect_near(values.grad(), differences, {.relative = 1e-6, .absolute = 1e-8});
}

inline void expect_finite(const at::Tensor& values) {
  EXPECT_TRUE(values.isfinite().all().item<bool>()) << values;
}

// An Error whose message has that part.
inline void expect_refused(const std::function<void()>& call, const std::string& part) {
  EXPECT_THAT(call, testing::ThrowsMessage<Error>(testing::HasSubstr(part)));
}

}  // namespace sluice
