#include "sft/reward_loss.h"

#include <ATen/ATen.h>

#include <cmath>

#include "base/error.h"

namespace sluice::sft {
namespace {

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

RewardLossSums sums_of(const at::Tensor& chosen, const at::Tensor& rejected) {
  RewardLossSums sums;
  if (chosen.numel() == 0) return sums;
  const auto both = at::cat({chosen, rejected}).detach();
  sums.pairs = chosen.numel();
  sums.correct = sum_of(chosen.gt(rejected));
  sums.margin = sum_of(chosen) - sum_of(rejected);
  sums.rewards = sum_of(both);
  sums.squares = sum_of(both.to(at::kDouble).square());
  sums.min_reward = both.min().item<double>();
  sums.max_reward = both.max().item<double>();
  return sums;
}

}  // namespace

RewardLoss reward_loss(const RewardLossInputs& in, int64_t step_pairs, const RewardLossOptions& options) {
  require(in.chosen.dim() == 1 && in.chosen.sizes() == in.rejected.sizes(), "reward_loss: chosen is ",
          in.chosen.sizes(), ", rejected is ", in.rejected.sizes());
  require(!in.margin.defined() || in.margin.sizes() == in.chosen.sizes(), "reward_loss: margin is ",
          in.margin.defined() ? in.margin.sizes() : at::IntArrayRef(), ", chosen is ", in.chosen.sizes());
  require(step_pairs > 0 && step_pairs >= in.chosen.numel(), "reward_loss: ", in.chosen.numel(),
          " pairs of a step of ", step_pairs);
  require(std::isfinite(options.center_coefficient) && options.center_coefficient >= 0.0,
          "reward_loss: center_coefficient is ", options.center_coefficient);

  auto ahead = in.chosen - in.rejected;  // [pairs]
  if (in.margin.defined()) ahead = ahead - in.margin.detach();
  auto pair_loss = -at::log_sigmoid(ahead);
  if (options.center_coefficient != 0.0) {
    pair_loss = pair_loss + options.center_coefficient * (in.chosen + in.rejected).square();
  }
  return {.loss = pair_loss.sum() / static_cast<double>(step_pairs), .sums = sums_of(in.chosen, in.rejected)};
}

RewardLoss ranking_loss(const at::Tensor& rewards, const std::vector<int64_t>& ranked, int64_t step_prompts) {
  require(rewards.dim() == 1, "ranking_loss: rewards is ", rewards.sizes());
  require(step_prompts > 0 && step_prompts >= std::ssize(ranked), "ranking_loss: ", ranked.size(),
          " prompts of a step of ", step_prompts);

  std::vector<int64_t> better, worse;
  std::vector<double> weights;
  int64_t start = 0;
  for (const int64_t count : ranked) {
    require(count >= 2, "ranking_loss: a prompt with ", count, " ranked completions, it takes two");
    const double pairs = static_cast<double>(count) * static_cast<double>(count - 1) / 2.0;
    for (int64_t i = start; i < start + count; ++i) {
      for (int64_t j = i + 1; j < start + count; ++j) {
        better.push_back(i);
        worse.push_back(j);
        weights.push_back(1.0 / (pairs * static_cast<double>(step_prompts)));
      }
    }
    start += count;
  }
  require(start == rewards.numel(), "ranking_loss: rewards is ", rewards.sizes(), ", the prompts have ",
          start, " ranked completions");

  const auto pick = [&](const std::vector<int64_t>& which) {
    return rewards.index_select(0, at::tensor(which, at::kLong).to(rewards.device()));
  };
  const auto chosen = pick(better), rejected = pick(worse);
  const auto pair_weights = at::tensor(weights, at::kDouble).to(rewards.options().requires_grad(false));
  return {.loss = -(at::log_sigmoid(chosen - rejected) * pair_weights).sum(),
          .sums = sums_of(chosen, rejected)};
}

}  // namespace sluice::sft
