#include "optim/internal/muon.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "model/large_tensor.h"
#include "model/operators.h"
#include "optim/internal/l2_norm.h"
#include "optim/internal/named_choice.h"

namespace sluice::optim {
namespace {

constexpr double kA = 3.4445, kB = -4.7750, kC = 2.0315;
constexpr double kNormEps = 1e-7;

// Heads and routers score choices: a row of theirs is an embedding of a token or an expert.
bool is_hidden(const model::ParameterSlot& slot) {
  return slot.kind == model::ParameterKind::Matrix && !slot.is_head && !slot.is_router;
}

bool is_not_hidden(const model::ParameterSlot& slot) { return !is_hidden(slot); }

// On the learning rate of a matrix: "match_rms_adamw" moves a weight as far as AdamW would (Liu et al. 2025).
using Adjustment = double (*)(double rows, double columns);
constexpr NamedChoice<Adjustment> kAdjustments[] = {
    {"match_rms_adamw", [](double rows, double columns) { return 0.2 * std::sqrt(std::max(rows, columns)); }},
    {"original", [](double rows, double columns) { return std::sqrt(std::max(1.0, rows / columns)); }}};

}  // namespace

const std::vector<std::string>& muon_adjustments() {
  static const auto names = names_of<Adjustment>(kAdjustments);
  return names;
}

at::Tensor orthogonalized(const at::Tensor& matrix, int64_t steps) {
  const bool is_tall = matrix.size(0) > matrix.size(1);
  auto x = (is_tall ? matrix.t() : matrix).contiguous();
  x = x / (l2_norm(x.view(-1)) + kNormEps);
  if (x.is_cuda()) x = x.to(at::kBFloat16);
  for (int64_t i = 0; i < steps; ++i) {
    // linear(a, b) is a b^T, and on the CPU its bits do not depend on the number of threads, as those of
    // at::mm may.
    const auto gram = model::linear(x, x);
    const auto polynomial = model::linear(gram, gram).mul_(kC).add_(gram, kB);
    x = model::linear(polynomial, x.t().contiguous()).add_(x, kA);
  }
  return (is_tall ? x.t() : x).to(matrix.scalar_type());
}

Muon::Muon(const model::Parameters& parameters, const OptimizerOptions& options)
    : options_(options),
      decayed_(decayed_stretches(parameters, is_hidden, options)),
      rest_(parameters, options, is_not_hidden) {
  const auto adjustment = choose<Adjustment>(kAdjustments, options.muon.adjust, "Optimizer: muon.adjust");
  int64_t count = 0;
  for (const auto& stretch : stretches(parameters, is_hidden)) count += stretch.count;
  momentum_ = model::large_tensor(count, parameters.flat().options()).zero_();
  int64_t first = 0;
  for (const auto& slot : parameters.slots()) {
    if (!is_hidden(slot)) continue;
    matrices_.push_back(
        {.slot = slot,
         .momentum = momentum_.narrow(0, first, slot.count).view(slot.shape),
         .lr_factor = adjustment(static_cast<double>(slot.shape[0]), static_cast<double>(slot.shape[1]))});
    first += slot.count;
  }
}

void Muon::update(const at::Tensor& weights, const at::Tensor& grad, const UpdateFactors& factors) {
  decay(weights, decayed_, factors.lr * options_.weight_decay);
  for (const auto& matrix : matrices_) {
    const auto own = matrix.of(grad);
    if (factors.grad_scale != 1.0) own.mul_(factors.grad_scale);
    const auto direction = add_momentum(matrix.momentum, own, options_);
    matrix.of(weights).sub_(orthogonalized(direction, options_.muon.ns_steps), factors.lr * matrix.lr_factor);
    own.zero_();
  }
  auto of_rest = factors;
  of_rest.lr *= options_.muon.adamw_lr_factor;
  rest_.update(weights, grad, of_rest);
}

std::vector<model::NamedTensor> Muon::state() const {
  auto tensors = rest_.state();
  tensors.insert(tensors.begin(), {"optimizer.momentum", momentum_});
  return tensors;
}

}  // namespace sluice::optim
