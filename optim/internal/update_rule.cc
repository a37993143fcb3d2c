#include "optim/internal/update_rule.h"

#include <ATen/ATen.h>

#include "optim/internal/adamw.h"
#include "optim/internal/muon.h"
#include "optim/internal/named_choice.h"
#include "optim/internal/sgd.h"

namespace sluice::optim {
namespace {

using MakeRule = std::unique_ptr<UpdateRule> (*)(const model::Parameters& parameters,
                                                 const OptimizerOptions& options);

template <class Rule>
std::unique_ptr<UpdateRule> make(const model::Parameters& parameters, const OptimizerOptions& options) {
  return std::make_unique<Rule>(parameters, options);
}

constexpr NamedChoice<MakeRule> kRules[] = {{"adamw", make<AdamW>}, {"muon", make<Muon>}, {"sgd", make<Sgd>}};

}  // namespace

const std::vector<std::string>& optimizer_kinds() {
  static const auto kinds = names_of<MakeRule>(kRules);
  return kinds;
}

std::unique_ptr<UpdateRule> make_update_rule(const model::Parameters& parameters,
                                             const OptimizerOptions& options) {
  return choose<MakeRule>(kRules, options.kind, "Optimizer: kind")(parameters, options);
}

std::vector<Stretch> stretches(const model::Parameters& parameters, const SlotFilter& is_chosen) {
  std::vector<Stretch> found;
  for (const auto& slot : parameters.slots()) {
    if (!is_chosen(slot)) continue;
    if (!found.empty() && found.back().first + found.back().count == slot.offset) {
      found.back().count += slot.count;
    } else {
      found.push_back({slot.offset, slot.count});
    }
  }
  return found;
}

bool decays(const model::ParameterSlot& slot, const OptimizerOptions& options) {
  if (options.weight_decay == 0.0) return false;
  // Weight decay is for matrices that multiply, not for norms, biases and tables.
  return slot.kind == model::ParameterKind::Matrix ||
         (options.decay_all && slot.kind != model::ParameterKind::Buffer);
}

std::vector<Stretch> decayed_stretches(const model::Parameters& parameters, const SlotFilter& is_chosen,
                                       const OptimizerOptions& options) {
  return stretches(
      parameters, [&](const model::ParameterSlot& slot) { return decays(slot, options) && is_chosen(slot); });
}

void decay(const at::Tensor& weights, const std::vector<Stretch>& stretches, double rate) {
  for (const auto& stretch : stretches) {
    const auto part = stretch.of(weights);
    part.sub_(part, rate);
  }
}

at::Tensor add_momentum(const at::Tensor& buffer, const at::Tensor& grad, const OptimizerOptions& options) {
  buffer.mul_(options.momentum).add_(grad);
  return options.nesterov ? grad.add(buffer, options.momentum) : buffer;
}

}  // namespace sluice::optim
