#include "optim/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include "base/error.h"

namespace sluice::optim {
namespace {

constexpr double kClipEps = 1e-6;
constexpr int64_t kNormRow = 1024;
constexpr const char* kFirstMoment = "optimizer.first_moment";
constexpr const char* kSecondMoment = "optimizer.second_moment";
constexpr const char* kCounters = "optimizer.counters";

// Rows of a fixed length are summed one by one and their sums in float64, so that the result does not depend
// on how many threads share the work.
double l2_norm(const at::Tensor& flat) {
  const int64_t num_rows = flat.numel() / kNormRow;
  const int64_t whole = num_rows * kNormRow;
  const auto rows = at::linalg_vector_norm(flat.narrow(0, 0, whole).view({num_rows, kNormRow}), 2, {{1}});
  const auto rest = at::linalg_vector_norm(flat.narrow(0, whole, flat.numel() - whole));
  return std::sqrt((rows.to(at::kDouble).square().sum() + rest.to(at::kDouble).square()).item<double>());
}

void check_options(const OptimizerOptions& options, int64_t total_steps) {
  const auto finite = [](double value) { return std::isfinite(value) && value >= 0.0; };
  require(finite(options.lr), "Optimizer: a learning rate of ", options.lr);
  require(options.beta1 >= 0.0 && options.beta1 < 1.0, "Optimizer: beta1 is ", options.beta1);
  require(options.beta2 >= 0.0 && options.beta2 < 1.0, "Optimizer: beta2 is ", options.beta2);
  require(finite(options.eps) && options.eps > 0.0, "Optimizer: eps is ", options.eps);
  require(finite(options.weight_decay), "Optimizer: a weight decay of ", options.weight_decay);
  require(finite(options.max_grad_norm), "Optimizer: max_grad_norm is ", options.max_grad_norm);
  require(total_steps > 0, "Optimizer: a run of ", total_steps, " steps");
  schedule_multiplier(options.schedule, 0, total_steps);  // throws for options that make no sense
}

const at::Tensor& find_state(const std::vector<model::NamedTensor>& state, const std::string& name,
                             at::ScalarType type, int64_t count) {
  const auto found = std::ranges::find(state, name, &model::NamedTensor::name);
  require<DataError>(found != state.end(), "Optimizer::load: there is no tensor ", name);
  const auto& tensor = found->tensor;
  require<DataError>(tensor.scalar_type() == type && tensor.dim() == 1 && tensor.numel() == count,
                     "Optimizer::load: ", name, " should be ", type, " [", count, "], is ",
                     tensor.scalar_type(), " ", tensor.sizes());
  return tensor;
}

}  // namespace

const std::vector<std::string>& schedule_kinds() {
  static const std::vector<std::string> kinds = {"constant", "linear", "cosine"};
  return kinds;
}

double schedule_multiplier(const ScheduleOptions& options, int64_t step, int64_t total_steps) {
  const int64_t warmup = options.warmup_steps;
  require(warmup >= 0 && step >= 0, "schedule_multiplier: step ", step, " of a warm-up of ", warmup,
          " steps");
  require(options.min_ratio >= 0.0 && options.min_ratio <= 1.0, "schedule_multiplier: min_ratio is ",
          options.min_ratio);
  require(std::ranges::count(schedule_kinds(), options.kind) == 1, "schedule_multiplier: unknown kind ",
          options.kind);
  if (step < warmup) {
    return static_cast<double>(options.warmup_from_zero ? step : step + 1) / static_cast<double>(warmup);
  }
  if (options.kind == "constant") return 1.0;

  const auto span = static_cast<double>(std::max<int64_t>(1, total_steps - warmup));
  const double progress = std::min(1.0, static_cast<double>(step - warmup) / span);
  if (options.kind == "linear") return 1.0 - progress;
  return options.min_ratio + (1.0 - options.min_ratio) * 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
}

Optimizer::Optimizer(model::Network& network, transport::Collective& collective,
                     const OptimizerOptions& options, int64_t total_steps)
    : network_(network),
      collective_(collective),
      options_(options),
      total_steps_(total_steps),
      grad_(at::zeros_like(network.trained().flat())),
      first_moment_(at::zeros_like(grad_)),
      second_moment_(at::zeros_like(grad_)),
      decay_(at::zeros_like(grad_)) {
  check_options(options, total_steps);
  require(grad_.scalar_type() == at::kFloat, "Optimizer: weights of type ", grad_.dtype().name(),
          " are not trained, only float32 is");
  for (const auto& slot : network_.trained().slots()) {
    grad_views_.push_back(grad_.narrow(0, slot.offset, slot.count).view(slot.shape));
    // Weight decay is for matrices that multiply, not for norms, biases and tables.
    const bool decays = slot.kind == model::ParameterKind::Matrix ||
                        (options_.decay_all && slot.kind != model::ParameterKind::Buffer);
    if (decays) decay_.narrow(0, slot.offset, slot.count).fill_(1.0);
  }
  bind_grads();
}

// Backward adds to a gradient that is already defined in place, so the views stay views.
void Optimizer::bind_grads() {
  const auto& parameters = network_.trained().tensors();
  for (size_t i = 0; i < grad_views_.size(); ++i) {
    if (parameters[i].tensor.requires_grad()) parameters[i].tensor.mutable_grad() = grad_views_[i];
  }
}

void Optimizer::check_grads() const {
  for (size_t i = 0; i < grad_views_.size(); ++i) {
    const auto& [name, tensor] = network_.trained().tensors()[i];
    require(!tensor.requires_grad() || (tensor.grad().defined() && tensor.grad().is_alias_of(grad_)),
            "Optimizer::step: the gradient of ", name, " was replaced");
  }
}

void Optimizer::zero_grad() { grad_.zero_(); }

// Travels to the other ranks with the sum of the gradients.
void Optimizer::reject() { grad_.fill_(std::numeric_limits<float>::quiet_NaN()); }

UpdateReport Optimizer::step() {
  const c10::NoGradGuard no_grad;
  check_grads();
  collective_.all_reduce_sum(grad_);

  const double lr = options_.lr * schedule_multiplier(options_.schedule, num_steps_, total_steps_);
  const double norm = l2_norm(grad_);
  ++num_steps_;
  if (!std::isfinite(norm)) {  // the sum is the same on every rank, so all of them skip
    ++num_skipped_;
    return {.grad_norm = norm, .lr = lr, .applied = false};
  }
  const double scale = options_.max_grad_norm / (norm + kClipEps);
  if (options_.max_grad_norm > 0.0 && scale < 1.0) grad_.mul_(scale);
  ++num_applied_;
  update_weights(lr);
  return {.grad_norm = norm, .lr = lr, .applied = true};
}

// AdamW (Loshchilov and Hutter 2019): the decay acts on the weights themselves and comes first.
void Optimizer::update_weights(double lr) {
  const auto& weights = network_.trained().flat();
  const auto t = static_cast<double>(num_applied_);
  if (options_.weight_decay > 0.0) weights.addcmul_(weights, decay_, -lr * options_.weight_decay);
  first_moment_.lerp_(grad_, 1.0 - options_.beta1);
  second_moment_.mul_(options_.beta2).addcmul_(grad_, grad_, 1.0 - options_.beta2);
  const auto denominator =
      second_moment_.sqrt().mul_(1.0 / std::sqrt(1.0 - std::pow(options_.beta2, t))).add_(options_.eps);
  weights.addcdiv_(first_moment_, denominator, -lr / (1.0 - std::pow(options_.beta1, t)));
}

std::vector<model::NamedTensor> Optimizer::state() const {
  const auto copy = [](const at::Tensor& tensor) {
    return tensor.to(at::kCPU, tensor.scalar_type(), /*non_blocking=*/false, /*copy=*/true);
  };
  return {{kFirstMoment, copy(first_moment_)},
          {kSecondMoment, copy(second_moment_)},
          {kCounters, at::tensor({num_steps_, num_applied_, num_skipped_}, at::kLong)}};
}

void Optimizer::load(const std::vector<model::NamedTensor>& state) {
  require<DataError>(state.size() == 3, "Optimizer::load: 3 tensors make its state, saw ", state.size());
  const auto& first = find_state(state, kFirstMoment, at::kFloat, grad_.numel());
  const auto& second = find_state(state, kSecondMoment, at::kFloat, grad_.numel());
  const auto counters = find_state(state, kCounters, at::kLong, 3).contiguous();
  const auto* count = counters.const_data_ptr<int64_t>();
  require<DataError>(count[1] >= 0 && count[2] >= 0 && count[0] == count[1] + count[2],
                     "Optimizer::load: ", count[0], " updates are not ", count[1], " applied and ", count[2],
                     " skipped");

  first_moment_.copy_(first);
  second_moment_.copy_(second);
  num_steps_ = count[0];
  num_applied_ = count[1];
  num_skipped_ = count[2];
}

}  // namespace sluice::optim
