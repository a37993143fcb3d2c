// Parameters of a test's own, for a rule to move without a network around them.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "optim/internal/update_rule.h"

namespace sluice::optim {

// Rows of numbers as a matrix, a row as a vector; float64.
inline at::Tensor tensor_of(const Json& numbers) {
  if (!numbers.at(0).is_array()) return at::tensor(numbers.get<std::vector<double>>(), at::kDouble);
  std::vector<at::Tensor> rows;
  for (const Json& row : numbers) rows.push_back(tensor_of(row));
  return at::stack(rows);
}

// Float64 zeros.
class BoundParameters {
 public:
  explicit BoundParameters(std::vector<model::ParameterSlot> slots) {
    for (auto& slot : slots) parameters_.add(std::move(slot));
    parameters_.bind(at::zeros({parameters_.num_numbers()}, at::kDouble), /*requires_grad=*/false);
    grad_ = at::zeros_like(parameters_.flat());
  }

  const model::Parameters& parameters() const { return parameters_; }
  at::Tensor weight(size_t index) const { return parameters_[index]; }
  at::Tensor grad(size_t index) const {
    const auto& slot = parameters_.slots()[index];
    return grad_.narrow(0, slot.offset, slot.count).view(slot.shape);
  }
  // The first update after `before` others.
  void update(UpdateRule& rule, double lr, int64_t before = 0) const {
    const c10::NoGradGuard no_grad;
    rule.update(parameters_.flat(), grad_, {.lr = lr, .num_updates = before + 1});
  }

 private:
  model::Parameters parameters_;
  at::Tensor grad_;
};

}  // namespace sluice::optim
