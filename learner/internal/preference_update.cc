#include "learner/internal/preference_update.h"

#include <ATen/ATen.h>

#include <cmath>

#include "learner/internal/segments.h"
#include "model/pack_bins.h"
#include "transport/collective.h"

namespace sluice::learner::internal {

PreferenceUpdate::PreferenceUpdate(const model::Network& network, optim::Optimizer& optimizer,
                                   double router_aux_loss, std::span<const PreferenceExample> examples,
                                   const std::vector<PreferencePack>& packs)
    : network_(network),
      optimizer_(optimizer),
      router_aux_loss_(router_aux_loss),
      examples_(examples),
      last_(model::last_of(packs, optimizer.collective().rank(), &PreferencePack::rank)),
      lacked_(model::lacked_by(packs, optimizer.collective().rank(), &PreferencePack::rank)) {
  for (const auto& pack : packs) {
    rows_ += pack.batch.num_rows();
    targets_ += pack.num_completion_targets();
  }
  optimizer_.zero_grad();
}

// Of a pair the first was chosen; a completion by itself was judged.
void PreferenceUpdate::add_logits(const PreferencePack& pack, const at::Tensor& hidden) {
  const auto logits = network_.mean_logits(hidden).to(at::kDouble);
  const auto sums = Segments(pack.lengths, logits).sum(logits).cpu();  // [completions]
  const double* sum = sums.const_data_ptr<double>();
  const size_t each = pack.lengths.size() / pack.examples.size();
  for (size_t i = 0; i < pack.lengths.size(); ++i) {
    const auto& example = examples_[static_cast<size_t>(pack.examples[i / each])];
    auto& side = (each == 1 ? example.desirable : i % each == 0) ? chosen_ : rejected_;
    side.tokens += pack.lengths[i];
    side.logits += sum[i];
  }
}

model::BatchLogprobs PreferenceUpdate::forward(const PreferencePack& pack) {
  if (&pack == last_) optimizer_.expect_last_backward();
  auto out = network_.logprobs(pack.batch, pack.targets, /*temperature=*/1.0);
  const int64_t targets = pack.num_completion_targets();
  entropy_ += out.entropy.detach().narrow(0, 0, targets).sum(at::kDouble).item<double>();
  add_logits(pack, out.hidden.narrow(0, 0, targets));
  const double share = static_cast<double>(pack.batch.num_rows()) / static_cast<double>(rows_);
  balance_ = out.balance_loss.defined() ? out.balance_loss * share : at::Tensor();
  return out;
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
  optimizer_.backward(objective);
}

StepMetrics PreferenceUpdate::finish() {
  optimizer_.idle_passes(lacked_);
  if (!std::isfinite(loss_)) optimizer_.reject();
  const auto update = optimizer_.step();
  const auto sums = transport::sum_over(optimizer_.collective(),
                                        {loss_, entropy_, static_cast<double>(chosen_.tokens), chosen_.logits,
                                         static_cast<double>(rejected_.tokens), rejected_.logits,
                                         aux_loss_ ? 1.0 : 0.0, aux_loss_.value_or(0.0)});
  StepMetrics metrics = {{"loss", sums[0]},
                         {"entropy", sums[1] / static_cast<double>(targets_)},
                         {"grad_norm", update.grad_norm},
                         {"learning_rate", update.lr}};
  metrics.merge(optimizer_.metrics());
  if (sums[2] > 0.0) metrics["logits/chosen"] = sums[3] / sums[2];
  if (sums[4] > 0.0) metrics["logits/rejected"] = sums[5] / sums[4];
  if (sums[6] > 0.0) metrics["aux_loss"] = sums[7];
  return metrics;
}

}  // namespace sluice::learner::internal
