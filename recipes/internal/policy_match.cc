#include "recipes/internal/policy_match.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "base/error.h"
#include "recipes/internal/stage_context.h"

namespace sluice::recipes {
namespace {

// Between what actors recorded and what the learner computes with the same weights.
struct LogprobBound {
  double mean, max;
};
constexpr LogprobBound kCpuBound{1e-5, 1e-4};    // float32: the order of sums alone
constexpr LogprobBound kNarrowBound{5e-3, 0.1};  // of products whose rows are rounded too, and on CUDA
constexpr LogprobBound kInt8Bound{0.05, 2.0};    // rollout.weights = "int8"

}  // namespace

learner::StepMetrics check_match(const learner::TrainingBatch& batch, const at::Tensor& flat,
                                 const model::Network& policy, const Recipe& recipe, const StageSpec& stage) {
  const at::NoGradGuard no_grad;
  learner::TrainingBatch first;
  first.groups.push_back(batch.groups.front());
  first.advantages.emplace_back(first.groups.front().completions.size(), 0.0);
  first.max_new_tokens = batch.max_new_tokens;
  const auto sampler = network_with(policy, flat, recipe);
  const int64_t version = first.groups.front().oldest_version();
  double sum = 0, worst = 0, count = 0;
  for (const auto& micro :
       learner::cut_into_micro_batches(first, stage.batch.micro_batch_tokens, sampler->device())) {
    const auto computed = sampler->logprobs(micro.batch, micro.targets, stage.learner.temperature).logprobs;
    const auto same_version = micro.versions.eq(version);
    const auto difference = (computed - micro.behaviour_logprobs).abs().masked_select(same_version);
    if (difference.numel() == 0) continue;
    sum += difference.sum().item<double>();
    worst = std::max(worst, difference.max().item<double>());
    count += static_cast<double>(difference.numel());
  }
  const double mean = count > 0 ? sum / count : 0.0;
  const bool wide = sampler->device().is_cpu() && !sampler->head().rounds_rows_to();
  const LogprobBound bound = stage.rollout.int8_weights ? kInt8Bound : wide ? kCpuBound : kNarrowBound;
  require(mean <= bound.mean && worst <= bound.max, stage.name, ": the log-probs of ",
          first.groups.front().actor, " differ from the learner's by ", mean, " on average and ", worst,
          " at most, the bounds are ", bound.mean, " and ", bound.max,
          stage.rollout.int8_weights ? "; rounding weights to int8 costs this policy too much"
                                     : "; the two do not run the same weights or the same code");
  return {{"logprob_diff/mean", mean}, {"logprob_diff/max", worst}};
}

}  // namespace sluice::recipes
