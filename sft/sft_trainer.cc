#include "sft/sft_trainer.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"
#include "model/pack_bins.h"
#include "transport/collective.h"

namespace sluice::sft {

SftTrainer::SftTrainer(model::Network& network, optim::Optimizer& optimizer, const SftOptions& options)
    : network_(network), optimizer_(optimizer), options_(options) {
  require(options.micro_batch_tokens > 0, "SftTrainer: micro-batches of ", options.micro_batch_tokens,
          " tokens");
}

StepMetrics SftTrainer::step(std::span<const Example> examples, int64_t number) {
  require<DataError>(!examples.empty(), "SftTrainer: no example of the step has a token to learn");
  int64_t step_targets = 0;
  size_t step_tokens = 0;
  double step_weight = 0.0;
  for (const Example& example : examples) {
    step_targets += num_targets(example);
    step_tokens += example.tokens.size();
    step_weight += total_weight(example);
  }

  auto& ranks = optimizer_.collective();
  const auto packs = pack_examples(examples, options_.micro_batch_tokens, network_.device(), ranks.size());
  int64_t step_rows = 0;
  for (const auto& pack : packs) step_rows += pack.batch.num_rows();

  double loss_sum = 0.0, entropy_sum = 0.0, correct = 0.0, aux_loss = 0.0;
  bool has_experts = false;
  optimizer_.zero_grad();
  const auto* const last = model::last_of(packs, ranks.rank(), &SupervisedBatch::rank);
  for (const auto& pack : packs) {
    if (pack.rank != ranks.rank()) continue;
    at::Tensor noise;
    if (options_.noise.alpha > 0.0)
      noise = embedding_noise(pack, network_.config().hidden_size, number, options_.noise);
    const auto out = network_.logprobs(pack.batch, pack.targets, /*temperature=*/1.0, noise);
    auto loss = supervised_loss(out.logprobs, pack.weights, step_weight, options_.loss);
    if (out.balance_loss.defined()) {
      const double share = static_cast<double>(pack.batch.num_rows()) / static_cast<double>(step_rows);
      aux_loss += share * out.balance_loss.item<double>();
      has_experts = true;
      if (options_.router_aux_loss != 0.0)
        loss = loss + out.balance_loss * (options_.router_aux_loss * share);
    }
    if (&pack == last) optimizer_.expect_last_backward();
    optimizer_.backward(loss);
    loss_sum += loss.item<double>();
    entropy_sum += out.entropy.sum(at::kDouble).item<double>();
    correct += out.is_top.sum().item<double>();
  }
  optimizer_.idle_passes(model::lacked_by(packs, ranks.rank(), &SupervisedBatch::rank));
  if (!std::isfinite(loss_sum)) optimizer_.reject();
  const auto update = optimizer_.step();
  const auto sums =
      transport::sum_over(ranks, {loss_sum, entropy_sum, correct, aux_loss, has_experts ? 1.0 : 0.0});

  StepMetrics metrics = {{"loss", sums[0]},
                         {"entropy", sums[1] / static_cast<double>(step_targets)},
                         {"mean_token_accuracy", sums[2] / static_cast<double>(step_targets)},
                         {"num_tokens", static_cast<double>(step_tokens)},
                         {"grad_norm", update.grad_norm},
                         {"learning_rate", update.lr}};
  metrics.merge(optimizer_.metrics());
  if (sums[4] > 0.0) metrics["aux_loss"] = sums[3];
  return metrics;
}

}  // namespace sluice::sft
