#include "sft/reward_trainer.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "model/pack_bins.h"
#include "transport/collective.h"

namespace sluice::sft {
namespace {

RewardLoss loss_of(const model::Network& network, const RewardBatch& pack, int64_t step_pairs,
                   const RewardLossOptions& options) {
  const auto both = network.scores(pack.batch, at::cat({pack.chosen_rows, pack.rejected_rows})).chunk(2);
  return reward_loss({.chosen = both[0], .rejected = both[1], .margin = pack.margins}, step_pairs, options);
}

void add(const RewardLossSums& more, RewardLossSums& sums) {
  sums.pairs += more.pairs;
  sums.correct += more.correct;
  sums.margin += more.margin;
  sums.rewards += more.rewards;
  sums.squares += more.squares;
  sums.min_reward = std::min(sums.min_reward, more.min_reward);
  sums.max_reward = std::max(sums.max_reward, more.max_reward);
}

void take_together(RewardLossSums& sums, transport::Collective& ranks) {
  const auto all = transport::gather(ranks, {static_cast<double>(sums.pairs), sums.correct, sums.margin,
                                             sums.rewards, sums.squares, sums.min_reward, sums.max_reward});
  sums = {};
  for (const auto& rank : all) {
    add({.pairs = static_cast<int64_t>(rank[0]),
         .correct = rank[1],
         .margin = rank[2],
         .rewards = rank[3],
         .squares = rank[4],
         .min_reward = rank[5],
         .max_reward = rank[6]},
        sums);
  }
}

std::map<std::string, double> metrics_of(const RewardLossSums& sums) {
  const auto pairs = static_cast<double>(sums.pairs);
  const double mean = sums.rewards / (2 * pairs);
  return {{"accuracy", sums.correct / pairs},
          {"margin", sums.margin / pairs},
          {"mean_reward", mean},
          {"std_reward", std::sqrt(std::max(0.0, sums.squares / (2 * pairs) - mean * mean))},
          {"min_reward", sums.min_reward},
          {"max_reward", sums.max_reward}};
}

}  // namespace

RewardTrainer::RewardTrainer(model::Network& network, optim::Optimizer& optimizer,
                             const RewardOptions& options)
    : network_(network), optimizer_(optimizer), options_(options) {
  require(network.config().scalar_head, "RewardTrainer: the network has logits, not a scalar head");
}

std::map<std::string, double> RewardTrainer::step(std::span<const ComparedPair> pairs) {
  require<DataError>(!pairs.empty(), "RewardTrainer: a step without pairs");
  double loss_sum = 0.0, num_tokens = 0.0;
  RewardLossSums sums;
  optimizer_.zero_grad();
  auto& ranks = optimizer_.collective();
  const auto packs = pack_pairs(pairs, options_.micro_batch_tokens, network_.device(), ranks.size());
  const auto* const last = model::last_of(packs, ranks.rank(), &RewardBatch::rank);
  for (const auto& pack : packs) {
    if (pack.rank != ranks.rank()) continue;
    const auto share = loss_of(network_, pack, std::ssize(pairs), options_.loss);
    if (&pack == last) optimizer_.expect_last_backward();
    optimizer_.backward(share.loss);
    loss_sum += share.loss.item<double>();
    add(share.sums, sums);
  }
  optimizer_.idle_passes(model::lacked_by(packs, ranks.rank(), &RewardBatch::rank));
  if (!std::isfinite(loss_sum)) optimizer_.reject();
  const auto update = optimizer_.step();

  for (const auto& pair : pairs) num_tokens += static_cast<double>(pair.num_tokens());
  take_together(sums, ranks);
  auto metrics = metrics_of(sums);
  metrics["loss"] = transport::sum_over(ranks, {loss_sum}).front();
  metrics["num_tokens"] = num_tokens;
  metrics["grad_norm"] = update.grad_norm;
  metrics["learning_rate"] = update.lr;
  metrics.merge(optimizer_.metrics());
  return metrics;
}

RewardLossSums measure_pairs(const model::Network& network, std::span<const ComparedPair> pairs,
                             int64_t micro_batch_tokens) {
  const c10::NoGradGuard no_grad;
  RewardLossSums sums;
  for (const auto& pack : pack_pairs(pairs, micro_batch_tokens, network.device())) {
    add(loss_of(network, pack, std::ssize(pairs), {}).sums, sums);
  }
  return sums;
}

}  // namespace sluice::sft
