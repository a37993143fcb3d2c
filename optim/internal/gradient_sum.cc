#include "optim/internal/gradient_sum.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"

namespace sluice::optim {
namespace {

using torch::autograd::variable_list;

// Large enough that a message's own cost is small beside it, and enough of them that little is left to sum
// when the backward ends.
constexpr int64_t kLeastNumbers = 1 << 18;
constexpr int64_t kMostStretches = 64;

int64_t stretch_numbers_of(const at::Tensor& grad) {
  return std::max(kLeastNumbers, grad.numel() / kMostStretches);
}

}  // namespace

struct GradientSum::Hook : torch::autograd::FunctionPostHook {
  Hook(GradientSum& sum_in, size_t slot_in) : sum(sum_in), slot(slot_in) {}
  variable_list operator()(const variable_list& outputs, const variable_list& /*inputs*/) override {
    sum.complete(slot);
    return outputs;
  }
  GradientSum& sum;
  const size_t slot;
};

GradientSum::GradientSum(const model::Parameters& parameters, at::Tensor grad, transport::Collective& ranks)
    : GradientSum(parameters, grad, ranks, stretch_numbers_of(grad)) {}

GradientSum::GradientSum(const model::Parameters& parameters, at::Tensor grad, transport::Collective& ranks,
                         int64_t stretch_numbers)
    : grad_(std::move(grad)), ranks_(ranks) {
  const auto& slots = parameters.slots();
  stretch_of_.resize(slots.size());
  is_complete_.resize(slots.size());
  int64_t end = grad_.numel();
  for (size_t i = slots.size(); i-- > 0;) {
    if (stretches_.empty() || stretches_.back().count >= stretch_numbers)
      stretches_.push_back({.first = end});
    auto& stretch = stretches_.back();
    stretch.count += end - slots[i].offset;
    stretch.first = end = slots[i].offset;
    stretch_of_[i] = stretches_.size() - 1;
    const auto& parameter = parameters[i];
    if (!parameter.requires_grad()) continue;
    ++stretch.trained;
    if (ranks.size() == 1) continue;
    auto node = torch::autograd::impl::grad_accumulator(parameter);
    const auto key = node->add_post_hook(std::make_unique<Hook>(*this, i));
    hooks_.emplace_back(std::move(node), key);
  }
}

GradientSum::~GradientSum() {
  for (const auto& [node, key] : hooks_) node->del_post_hook(key);
}

void GradientSum::expect_last_backward() {
  require(under_way_.empty(), "GradientSum: ", under_way_.size(), " sums of the update before are under way");
  expects_ = true;
}

at::Tensor GradientSum::kept_back() const {
  return grad_.narrow(0, stretches_.back().first, stretches_.back().count);
}

void GradientSum::complete(size_t slot) {
  if (!expects_) return;
  const size_t at = stretch_of_[slot];
  require(at >= under_way_.size(), "GradientSum: parameter ", slot,
          " has another gradient after it was summed");
  if (is_complete_[slot]) return;
  is_complete_[slot] = true;
  ++stretches_[at].completed;
  while (under_way_.size() + 1 < stretches_.size()) {
    const auto& next = stretches_[under_way_.size()];
    if (next.completed < next.trained) return;
    begin_next();
  }
}

void GradientSum::begin_next() {
  const auto& stretch = stretches_[under_way_.size()];
  under_way_.push_back(ranks_.begin_sum(grad_.narrow(0, stretch.first, stretch.count)));
}

void GradientSum::finish() {
  const Stopwatch waited;
  while (under_way_.size() < stretches_.size()) begin_next();
  for (const auto& end : under_way_) end();
  under_way_.clear();
  expects_ = false;
  is_complete_.assign(is_complete_.size(), false);
  for (auto& stretch : stretches_) stretch.completed = 0;
  wait_s_ += waited.seconds();
}

double GradientSum::take_wait_seconds() { return std::exchange(wait_s_, 0.0); }

}  // namespace sluice::optim
