// What the tests of operators share: numbers, tensors of the specification, central differences.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "base/json.h"

namespace sluice::model {

inline at::Tensor vector_of(const Json& json) {
  return at::tensor(json.get<std::vector<double>>(), at::kDouble);
}

inline at::Tensor matrix_of(const Json& json) {
  std::vector<at::Tensor> rows;
  for (const auto& row : json) rows.push_back(vector_of(row));
  return at::stack(rows);
}

// Numbers that look random, the same everywhere, float64.
inline at::Tensor numbers(at::IntArrayRef shape, double phase) {
  auto out = at::empty(shape, at::kDouble);
  auto* p = out.mutable_data_ptr<double>();
  for (int64_t i = 0; i < out.numel(); ++i) p[i] = std::sin(static_cast<double>(i * i) * 0.37 + phase);
  return out;
}

inline double difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

// Compares the gradients of sum(f(inputs) * weights) with central differences.
inline void expect_gradients(const std::function<at::Tensor(const std::vector<at::Tensor>&)>& f,
                             std::vector<at::Tensor> inputs) {
  for (auto& input : inputs) input.requires_grad_(true);
  const auto out = f(inputs);
  const auto weights = numbers(out.sizes(), 0.9);
  (out * weights).sum().backward();

  const at::NoGradGuard no_grad;
  const auto value = [&] { return (f(inputs) * weights).sum().item<double>(); };
  constexpr double kStep = 1e-6;
  for (size_t n = 0; n < inputs.size(); ++n) {
    auto* x = inputs[n].mutable_data_ptr<double>();
    const auto grad = inputs[n].grad().contiguous();
    for (int64_t i = 0; i < inputs[n].numel(); ++i) {
      const double kept = x[i];
      x[i] = kept + kStep;
      const double above = value();
      x[i] = kept - kStep;
      const double below = value();
      x[i] = kept;
      const double expected = (above - below) / (2 * kStep);
      EXPECT_NEAR(grad.const_data_ptr<double>()[i], expected, 1e-7 * std::max(1.0, std::abs(expected)))
          << "input " << n << ", number " << i;
    }
  }
}

}  // namespace sluice::model
