#include "sft/distill_trainer.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/operators.h"
#include "model/pack_bins.h"
#include "transport/collective.h"

namespace sluice::sft {
namespace {

// Logits of so many numbers at once, of each of the two: their distributions take several times that.
constexpr int64_t kChunkNumbers = int64_t{1} << 22;

// Of hidden states, with gradients in them and in the head.
at::Tensor logits_of(const model::Network& network, const at::Tensor& hidden, int64_t vocab) {
  const auto head = network.head();
  auto logits = model::linear(
      hidden,
      model::FusedWeight{.all = {head.rows.detach(), head.packed, head.rounding}, .parts = {head.rows}});
  if (const auto cap = network.config().logit_soft_cap) logits = (logits / *cap).tanh() * *cap;
  return logits.narrow(1, 0, vocab);
}

}  // namespace

// Weighted, but the entropy.
struct DistillTrainer::Sums {
  double loss = 0.0, kl = 0.0, nll = 0.0, entropy = 0.0;
};

DistillTrainer::DistillTrainer(model::Network& network, const model::Network& teacher,
                               optim::Optimizer& optimizer, int64_t micro_batch_tokens,
                               const DistillOptions& options)
    : network_(network),
      teacher_(teacher),
      optimizer_(optimizer),
      micro_batch_tokens_(micro_batch_tokens),
      options_(options) {
  require(micro_batch_tokens > 0, "DistillTrainer: micro-batches of ", micro_batch_tokens, " tokens");
}

// The distributions of a pack may take more room than the rest of it: they are made and let go by chunks,
// whose gradients meet at the hidden states.
void DistillTrainer::learn(const SupervisedBatch& pack, double step_weight, Sums& sums) {
  const auto& batch = pack.batch;
  const auto& targets = pack.targets;
  const auto& weights = pack.weights;
  const int64_t vocab = std::min(network_.config().vocab_size, teacher_.config().vocab_size);
  const auto hidden = model::embedding(network_.forward(batch), targets.rows);
  const auto leaf = hidden.detach().requires_grad_();
  const auto teacher_hidden = [&] {
    const at::NoGradGuard no_grad;
    return model::embedding(teacher_.forward(batch), targets.rows);
  }();
  const int64_t step = std::clamp<int64_t>(kChunkNumbers / vocab, 16, 4096), rows = hidden.size(0);
  for (int64_t first = 0; first < rows; first += step) {
    const auto part = [&](const at::Tensor& all) {
      return all.narrow(0, first, std::min(step, rows - first));
    };
    const auto teacher_logits = [&] {
      const at::NoGradGuard no_grad;
      return logits_of(teacher_, part(teacher_hidden), vocab);
    }();
    const auto logits = logits_of(network_, part(leaf), vocab);
    const auto kl = distill_kl(logits, teacher_logits, options_);
    const auto all_logprobs = logits.log_softmax(-1);
    const auto logprobs = all_logprobs.gather(1, part(targets.tokens).unsqueeze(1)).squeeze(1);
    const auto loss = distill_loss(kl, logprobs, part(weights), step_weight, options_);
    optimizer_.backward(loss);
    sums.loss += loss.item<double>();
    sums.kl += (part(weights) * kl.detach()).sum(at::kDouble).item<double>();
    sums.nll -= (part(weights) * logprobs.detach()).sum(at::kDouble).item<double>();
    const auto certain = all_logprobs.detach();
    sums.entropy -= (certain.exp() * certain).sum(at::kDouble).item<double>();
  }
  hidden.backward(leaf.grad());
}

StepMetrics DistillTrainer::step(std::span<const Example> examples) {
  require<DataError>(!examples.empty(), "DistillTrainer: no example of the step has a token to learn");
  double num_tokens = 0.0, num_targets_of_step = 0.0, step_weight = 0.0;
  for (const Example& example : examples) {
    num_tokens += static_cast<double>(example.tokens.size());
    num_targets_of_step += static_cast<double>(num_targets(example));
    step_weight += total_weight(example);
  }
  optimizer_.zero_grad();
  Sums own;
  auto& ranks = optimizer_.collective();
  const auto packs = pack_examples(examples, micro_batch_tokens_, network_.device(), ranks.size());
  for (const auto& pack : packs) {
    if (pack.rank == ranks.rank()) learn(pack, step_weight, own);
  }
  optimizer_.idle_passes(model::lacked_by(packs, ranks.rank(), &SupervisedBatch::rank));
  if (!std::isfinite(own.loss)) optimizer_.reject();
  const auto update = optimizer_.step();
  const auto sums = transport::sum_over(ranks, {own.loss, own.kl, own.nll, own.entropy});

  StepMetrics metrics = {{"loss", sums[0]},
                         {"kl", sums[1] / step_weight},
                         {"nll", sums[2] / step_weight},
                         {"entropy", sums[3] / num_targets_of_step},
                         {"num_tokens", num_tokens},
                         {"grad_norm", update.grad_norm},
                         {"learning_rate", update.lr}};
  metrics.merge(optimizer_.metrics());
  return metrics;
}

}  // namespace sluice::sft
