#include "optim/optimizer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "base/failpoint.h"
#include "base/shared_work.h"
#include "model/large_tensor.h"
#include "optim/internal/gradient_sum.h"
#include "optim/internal/l2_norm.h"
#include "optim/internal/loss_scale.h"
#include "optim/internal/shard_parts.h"
#include "optim/internal/sharded_weights.h"
#include "optim/internal/spike_guard.h"
#include "optim/internal/update_rule.h"

namespace sluice::optim {
namespace {

constexpr double kClipEps = 1e-6;
constexpr int64_t kMostNsSteps = 100;
constexpr const char* kCounters = "optimizer.counters";
constexpr const char* kUsualNorm = "optimizer.usual_grad_norm";
constexpr const char* kLossScale = "optimizer.loss_scale";

void check_options(const OptimizerOptions& options, int64_t total_steps) {
  const auto finite = [](double value) { return std::isfinite(value) && value >= 0.0; };
  const auto below_one = [](double value) { return value >= 0.0 && value < 1.0; };
  require(finite(options.lr), "Optimizer: a learning rate of ", options.lr);
  require(below_one(options.beta1), "Optimizer: beta1 is ", options.beta1);
  require(below_one(options.beta2), "Optimizer: beta2 is ", options.beta2);
  require(finite(options.eps) && options.eps > 0.0, "Optimizer: eps is ", options.eps);
  require(finite(options.weight_decay), "Optimizer: a weight decay of ", options.weight_decay);
  require(below_one(options.momentum), "Optimizer: momentum is ", options.momentum);
  const auto& muon = options.muon;
  require(muon.ns_steps > 0 && muon.ns_steps <= kMostNsSteps, "Optimizer: muon.ns_steps is ", muon.ns_steps,
          ", 1 to ", kMostNsSteps, " are possible");
  require(finite(muon.adamw_lr_factor), "Optimizer: muon.adamw_lr_factor is ", muon.adamw_lr_factor);
  require(finite(options.max_grad_norm), "Optimizer: max_grad_norm is ", options.max_grad_norm);
  require(options.spike_ratio == 0.0 || (finite(options.spike_ratio) && options.spike_ratio > 1.0),
          "Optimizer: spike_ratio ", options.spike_ratio, " is neither 0 nor more than 1");
  require(options.spike_window > 0, "Optimizer: a spike_window of ", options.spike_window, " steps");
  const auto& shards = shard_kinds();
  require(std::ranges::find(shards, options.shard) != shards.end(), "Optimizer: shard is \"", options.shard,
          "\"");
  require(options.shard == "none" || options.kind != "muon",
          "Optimizer: muon looks at whole matrices; it is not sharded");
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

constexpr int64_t kShardStep = 64;  // numbers: shards begin where vectors do

// A part of the parameters as parameters of their own: what lies in it of each.
model::Parameters part_of(const model::Parameters& whole, const Shard& shard) {
  model::Parameters part;
  for (const auto& slot : whole.slots()) {
    const auto own = common_part(shard, {.first = slot.offset, .count = slot.count});
    if (own.count > 0) part.add({.name = slot.name, .shape = {own.count}, .kind = slot.kind});
  }
  part.bind(part_of(whole.flat(), shard), /*requires_grad=*/false);
  return part;
}

// All numbers, of which each rank has its shard, on the CPU of rank 0. No rank has room for more than two
// shards on the way.
at::Tensor gather_shards(const at::Tensor& own, int64_t num_numbers, transport::Collective& ranks) {
  const auto whole = ranks.rank() == 0 ? at::empty({num_numbers}, own.scalar_type()) : at::Tensor();
  for (int64_t rank = 0; rank < ranks.size(); ++rank) {
    const auto part = shard_of(num_numbers, rank, ranks.size());
    if (part.count == 0) continue;
    auto numbers = rank == ranks.rank() ? own : at::empty({part.count}, own.options());
    ranks.broadcast(numbers, rank);
    if (whole.defined()) part_of(whole, part).copy_(numbers);
  }
  return whole;
}

// By all threads of ours: ATen has one in a run.
void fill_zeros(const at::Tensor& flat) {
  constexpr int64_t kWorthAThread = int64_t{1} << 18;  // numbers
  if (!flat.is_cpu() || flat.scalar_type() != at::kFloat) {
    flat.zero_();
    return;
  }
  auto* const numbers = flat.mutable_data_ptr<float>();
  share_work(flat.numel(), kWorthAThread,
             [numbers](int64_t begin, int64_t end) { std::fill(numbers + begin, numbers + end, 0.0f); });
}

// One of the numbers becomes what SLUICE_FAIL wants it to be.
void inject(Failpoint point, const at::Tensor& numbers) {
  if (const auto value = injected(point)) numbers.narrow(0, 0, 1).fill_(*value);
}

}  // namespace

const std::vector<std::string>& shard_kinds() {
  static const std::vector<std::string> kinds = {"none", "moments", "weights"};
  return kinds;
}

WholeWeights::WholeWeights(ShardedWeights* weights) : weights_(weights) {
  if (weights_ != nullptr) weights_->gather_all();
}

WholeWeights::~WholeWeights() {
  if (weights_ != nullptr) weights_->release_all();
}

Shard shard_of(int64_t num_numbers, int64_t rank, int64_t ranks) {
  const int64_t even = (num_numbers + ranks - 1) / ranks;
  const int64_t each = (even + kShardStep - 1) / kShardStep * kShardStep;
  const int64_t first = std::min(num_numbers, rank * each);
  return {.first = first, .count = std::min(num_numbers - first, each)};
}

Optimizer::Optimizer(model::Network& network, transport::Collective& collective,
                     const OptimizerOptions& options, int64_t total_steps)
    : network_(network),
      collective_(collective),
      options_(options),
      total_steps_(total_steps),
      grad_(model::large_tensor(network.trained().flat().numel(), network.trained().flat().options())),
      own_(is_sharded() ? shard_of(grad_.numel(), collective.rank(), collective.size())
                        : Shard{0, grad_.numel()}) {
  check_options(options, total_steps);
  require(!shards_weights() || (network.device().is_cpu() && !network.lora()),
          "Optimizer: weights are sharded on the CPU, where all of the network is trained");
  require(grad_.scalar_type() == at::kFloat, "Optimizer: weights of type ", grad_.dtype().name(),
          " are not trained, only float32 is");
  for (const auto& slot : network_.trained().slots()) {
    grad_views_.push_back(grad_.narrow(0, slot.offset, slot.count).view(slot.shape));
  }
  rule_ = is_sharded() ? make_update_rule(part_of(network_.trained(), own_), options_)
                       : make_update_rule(network_.trained(), options_);
  if (options_.spike_ratio > 0.0) {
    guard_ = std::make_unique<SpikeGuard>(options_.spike_ratio, options_.spike_window);
  }
  if (network_.rounding() == model::Rounding::Float16Both) {
    loss_scale_ = std::make_unique<LossScale>();
  }
  bind_grads();
  if (shards_weights()) {
    weights_ = std::make_unique<ShardedWeights>(network_, grad_, own_, collective_);
  } else {
    fill_zeros(grad_);
    sum_ = std::make_unique<GradientSum>(network_.trained(), grad_, collective_);
  }
}

Optimizer::~Optimizer() = default;

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

void Optimizer::zero_grad() {
  if (weights_ != nullptr) return weights_->begin_update();
  require(sum_->num_begun() == 0,
          "Optimizer::zero_grad: the gradient is being summed, and step() did not come");
  if (!std::exchange(is_zero_, false)) fill_zeros(grad_);
}

double Optimizer::loss_scale() const { return loss_scale_ == nullptr ? 1.0 : loss_scale_->value(); }

void Optimizer::backward(const at::Tensor& loss) const {
  (loss_scale_ == nullptr ? loss : loss * loss_scale_->value()).backward();
}

void Optimizer::expect_last_backward() {
  if (sum_ != nullptr) sum_->expect_last_backward();
}

void Optimizer::idle_forwards(int64_t count) {
  for (int64_t i = 0; weights_ != nullptr && i < count; ++i) weights_->idle_forward();
}

void Optimizer::idle_backward() {
  if (weights_ != nullptr) weights_->idle_backward();
}

void Optimizer::idle_passes(int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    idle_forwards(1);
    idle_backward();
  }
}

at::Tensor Optimizer::kept_back() const {
  return weights_ != nullptr ? weights_->kept_back() : sum_->kept_back();
}

// Travels to the other ranks with the sum of the gradients.
void Optimizer::reject() {
  is_rejected_ = true;
  kept_back().fill_(std::numeric_limits<float>::quiet_NaN());
}

// Of a gradient that is not finite, which every rank asks of the same one.
bool Optimizer::is_overflow(bool rejected) {
  if (loss_scale_ == nullptr) return false;
  const double rejections = transport::sum_over(collective_, {rejected ? 1.0 : 0.0}).front();
  return rejections == 0.0 && loss_scale_->overflowed();
}

double Optimizer::take_sum_seconds() {
  const double seconds = weights_ != nullptr ? weights_->take_wait_seconds() : sum_->take_wait_seconds();
  return collective_.size() == 1 ? 0.0 : seconds;
}

UpdateReport Optimizer::step() {
  const c10::NoGradGuard no_grad;
  check_grads();
  collected_.clear();
  is_zero_ = false;
  const bool rejected = std::exchange(is_rejected_, false);
  inject(Failpoint::Gradient, kept_back());
  const auto grad = sum_gradient();

  const double lr = options_.lr * schedule_multiplier(options_.schedule, num_steps_, total_steps_);
  const double scale = loss_scale(), norm = norm_of(grad) / scale;
  ++num_steps_;
  // The sum has the same bits on every rank, and so has its norm: all of them skip, or none.
  if (!std::isfinite(norm)) {
    const bool overflow = is_overflow(rejected);
    if (!overflow) ++num_skipped_;
    return {.grad_norm = norm, .lr = lr, .overflow = overflow};
  }
  if (loss_scale_ != nullptr) loss_scale_->fitted();
  if (guard_ != nullptr && guard_->is_spike(norm)) {
    return {.grad_norm = norm, .lr = lr, .applied = false, .spike = true};
  }
  const double clip = options_.max_grad_norm / (norm + kClipEps);
  ++num_applied_;
  move_weights(grad, lr, (options_.max_grad_norm > 0.0 ? std::min(clip, 1.0) : 1.0) / scale);
  inject(Failpoint::Weight, network_.trained().flat());
  return {.grad_norm = norm, .lr = lr, .applied = true};
}

// Of all numbers, or, where weights are sharded, of the rank's own.
at::Tensor Optimizer::sum_gradient() {
  if (weights_ != nullptr) return weights_->sum_gradient();
  sum_->finish();
  return grad_;
}

// Of all numbers, with the same bits on every rank.
double Optimizer::norm_of(const at::Tensor& grad) const {
  const double norm = l2_norm(grad).item<double>();
  return weights_ == nullptr ? norm : std::sqrt(transport::sum_over(collective_, {norm * norm}).front());
}

void Optimizer::move_weights(const at::Tensor& grad, double lr, double grad_scale) {
  const auto& flat = network_.trained().flat();
  const auto own_grad = weights_ != nullptr ? grad : part_of(grad, own_);
  rule_->update(part_of(flat, own_), own_grad,
                {.lr = lr, .num_updates = num_applied_, .grad_scale = grad_scale});
  if (weights_ != nullptr) return weights_->share_root();
  for (const auto& part : other_parts({.first = 0, .count = grad_.numel()}, own_))
    fill_zeros(part_of(grad_, part));
  is_zero_ = true;
  if (is_sharded()) share_parts(flat.detach(), {.first = 0, .count = flat.numel()}, collective_);
}

std::string Optimizer::hash_in_common() const {
  return weights_ != nullptr ? weights_->hash_in_common() : network_.weights_hash();
}

int64_t Optimizer::num_spikes() const { return guard_ == nullptr ? 0 : guard_->num_spikes(); }

std::map<std::string, double> Optimizer::metrics() const {
  std::map<std::string, double> metrics = {{"nonfinite_skips", static_cast<double>(num_skipped_)},
                                           {"spike_skips", static_cast<double>(num_spikes())}};
  if (loss_scale_ != nullptr) {
    metrics["overflow_skips"] = static_cast<double>(loss_scale_->num_overflows());
    metrics["loss_scale"] = loss_scale_->value();
  }
  return metrics;
}

int64_t Optimizer::state_bytes() const {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : rule_->state()) bytes += static_cast<int64_t>(tensor.nbytes());
  return bytes;
}

void Optimizer::collect() {
  if (!is_sharded()) return;
  collected_.clear();
  for (const auto& [name, tensor] : rule_->state()) {
    auto whole = gather_shards(tensor, grad_.numel(), collective_);
    if (collective_.rank() == 0) collected_.push_back({name, std::move(whole)});
  }
}

std::vector<model::NamedTensor> Optimizer::state() const {
  auto state = is_sharded() ? collected_ : rule_->state();
  require(state.size() == rule_->state().size(), "Optimizer::state: what ranks remember is not collected");
  for (auto& [name, tensor] : state) tensor = tensor.to(at::kCPU);
  state.push_back({kCounters, at::tensor({num_steps_, num_applied_, num_skipped_}, at::kLong)});
  if (guard_ != nullptr) state.push_back({kUsualNorm, guard_->state()});
  if (loss_scale_ != nullptr) state.push_back({kLossScale, loss_scale_->state()});
  return state;
}

void Optimizer::load(const std::vector<model::NamedTensor>& state) {
  const auto remembered = rule_->state();
  std::vector<at::Tensor> found;
  for (const auto& [name, tensor] : remembered) {
    const int64_t count = is_sharded() ? grad_.numel() : tensor.numel();
    const auto& whole = find_state(state, name, tensor.scalar_type(), count);
    found.push_back(is_sharded() ? whole.narrow(0, own_.first, own_.count) : whole);
  }
  const auto counters = find_state(state, kCounters, at::kLong, 3).contiguous();
  const auto* count = counters.const_data_ptr<int64_t>();
  if (guard_ != nullptr) guard_->load(find_state(state, kUsualNorm, at::kDouble, 3));
  if (loss_scale_ != nullptr) loss_scale_->load(find_state(state, kLossScale, at::kDouble, 3));
  const size_t num_tensors =
      remembered.size() + 1 + (guard_ == nullptr ? 0 : 1) + (loss_scale_ == nullptr ? 0 : 1);
  require<DataError>(state.size() == num_tensors, "Optimizer::load: ", num_tensors,
                     " tensors make the state of ", options_.kind, ", saw ", state.size());
  const int64_t overflows = loss_scale_ == nullptr ? 0 : loss_scale_->num_overflows();
  require<DataError>(
      count[1] >= 0 && count[2] >= 0 && count[0] == count[1] + count[2] + num_spikes() + overflows,
      "Optimizer::load: ", count[0], " updates are not ", count[1], " applied, ", count[2], " skipped, ",
      num_spikes(), " spikes and ", overflows, " overflows");

  for (size_t i = 0; i < remembered.size(); ++i) remembered[i].tensor.copy_(found[i]);
  num_steps_ = count[0];
  num_applied_ = count[1];
  num_skipped_ = count[2];
}

}  // namespace sluice::optim
