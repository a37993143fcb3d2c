#include "learner/critic.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "learner/value_loss.h"
#include "transport/collective.h"

namespace sluice::learner {

Critic::Critic(model::Network& network, optim::Optimizer& optimizer, double clip)
    : network_(network), optimizer_(optimizer), clip_(clip) {
  require(network.config().scalar_head, "Critic: the network has no scalar head");
  require(clip > 0.0, "Critic: a clip of ", clip);
}

CriticValues Critic::values(const MicroBatch& micro) const {
  const c10::NoGradGuard no_grad;
  const auto values = network_.scores(micro.batch, at::cat({micro.targets.rows, micro.end_rows}));
  const int64_t tokens = micro.targets.rows.numel();
  return {.tokens = values.narrow(0, 0, tokens), .ends = values.narrow(0, tokens, micro.end_rows.numel())};
}

void Critic::begin() {
  optimizer_.zero_grad();
  update_loss_ = 0.0;
}

void Critic::learn(const MicroBatch& micro, const at::Tensor& old_values, const at::Tensor& returns,
                   const StepDenominators& denominators) {
  const auto known = returns.isnan().logical_not();
  const auto weights = aggregation_weights(Aggregation::TokenMean, micro.lengths, denominators);
  const auto loss = value_loss({.values = network_.scores(micro.batch, micro.targets.rows),
                                .old_values = old_values,
                                .returns = at::where(known, returns, old_values),
                                .weights = weights.to(network_.device()) * known},
                               clip_);
  optimizer_.backward(loss.loss);
  update_loss_ += loss.loss.item<double>();
  sums_.clipped += loss.clipped;
  sums_.tokens += micro.targets.rows.numel();
}

bool Critic::update() {
  if (!std::isfinite(update_loss_)) optimizer_.reject();
  const auto report = optimizer_.step();
  ++sums_.updates;
  sums_.loss += update_loss_;
  if (!report.overflow) {
    sums_.grad_norm += report.grad_norm;
    ++sums_.norms;
  }
  sums_.lr = report.lr;
  return report.is_sound();
}

StepMetrics Critic::take_metrics() {
  auto sums = std::exchange(sums_, {});
  const auto together = transport::sum_over(optimizer_.collective(),
                                            {sums.loss, sums.clipped, static_cast<double>(sums.tokens)});
  sums.loss = together[0];
  sums.clipped = together[1];
  sums.tokens = static_cast<int64_t>(together[2]);
  StepMetrics metrics;
  for (const auto& [name, count] : optimizer_.metrics()) metrics["critic/" + name] = count;
  if (sums.updates == 0) return metrics;
  const auto updates = static_cast<double>(sums.updates);
  metrics["value_loss"] = sums.loss / updates;
  metrics["vf_clipfrac"] = sums.clipped / static_cast<double>(std::max<int64_t>(1, sums.tokens));
  if (sums.norms > 0) metrics["critic/grad_norm"] = sums.grad_norm / static_cast<double>(sums.norms);
  metrics["critic/learning_rate"] = sums.lr;
  return metrics;
}

}  // namespace sluice::learner
