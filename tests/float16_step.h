// What a trainer has to do for products of float16.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>

#include "model/network.h"

namespace sluice {

inline std::unique_ptr<model::Network> with_products(model::Rounding rounding,
                                                     std::unique_ptr<model::Network> network) {
  network->round_products(rounding);
  return network;
}

// Of the first step that is no overflow: one that is halves the scale of the loss, and moves nothing.
inline double fitted_norm(const std::function<double()>& step) {
  double norm = step();
  for (int halvings = 0; !std::isfinite(norm) && halvings < 8; ++halvings) norm = step();
  return norm;
}

// That a trainer goes backward through its optimizer, which scales the loss and takes the scale out of the
// gradient again: else the norm of a step with such products, which `grad_norm` gives, is hundreds of times
// too small, or more.
inline void expect_loss_scaled(const std::function<double(model::Rounding products)>& grad_norm) {
  const double exact = grad_norm(model::Rounding::None), rounded = grad_norm(model::Rounding::Float16Both);
  EXPECT_GT(exact, 0.0);
  EXPECT_NE(rounded, exact);
  EXPECT_NEAR(rounded, exact, 0.01 * exact);
}

}  // namespace sluice
