#include "learner/internal/preference_update.h"

#include <ATen/ATen.h>

#include <cmath>

namespace sluice::learner::internal {

PreferenceUpdate::PreferenceUpdate(const model::Network& network, optim::Optimizer& optimizer,
                                   double router_aux_loss, const std::vector<PreferencePack>& packs)
    : network_(network), optimizer_(optimizer), router_aux_loss_(router_aux_loss) {
  for (const auto& pack : packs) {
    rows_ += pack.batch.num_rows();
    targets_ += pack.num_completion_targets();
  }
  optimizer_.zero_grad();
}

at::Tensor PreferenceUpdate::forward(const PreferencePack& pack) {
  const auto out = network_.logprobs(pack.batch, pack.targets, /*temperature=*/1.0);
  const auto entropy = out.entropy.detach().narrow(0, 0, pack.num_completion_targets());
  entropy_ += entropy.sum(at::kDouble).item<double>();
  const double share = static_cast<double>(pack.batch.num_rows()) / static_cast<double>(rows_);
  balance_ = out.balance_loss.defined() ? out.balance_loss * share : at::Tensor();
  return out.logprobs;
}

void PreferenceUpdate::backward(at::Tensor objective) {
  if (balance_.defined()) {
    const double balance = balance_.item<double>();
    aux_loss_ = aux_loss_.value_or(0.0) + balance;
    if (router_aux_loss_ != 0.0) {
      objective = objective + balance_ * router_aux_loss_;
      loss_ += balance * router_aux_loss_;
    }
  }
  objective.backward();
}

StepMetrics PreferenceUpdate::finish() {
  if (!std::isfinite(loss_)) optimizer_.reject();
  const auto update = optimizer_.step();
  StepMetrics metrics = {{"loss", loss_},
                         {"entropy", entropy_ / static_cast<double>(targets_)},
                         {"grad_norm", update.grad_norm},
                         {"learning_rate", update.lr}};
  metrics.merge(optimizer_.skip_counts());
  if (aux_loss_) metrics["aux_loss"] = *aux_loss_;
  return metrics;
}

}  // namespace sluice::learner::internal
