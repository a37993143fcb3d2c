#include "learner/policy_learner.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "base/error.h"
#include "learner/internal/statistics.h"

namespace sluice::learner {
namespace {

constexpr double kMaxLogRatio = 20.0;  // as the loss has it

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

// What is known before the forward: advantages and staleness, over the chosen tokens of the whole step.
StepMetrics batch_metrics(const TrainingBatch& batch, int64_t version) {
  std::vector<double> advantages, staleness;
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    for (size_t i = 0; i < batch.groups[g].completions.size(); ++i) {
      const auto& completion = batch.groups[g].completions[i];
      if (batch.leaves_out(completion)) continue;
      for (size_t t = 0; t < completion.tokens.size(); ++t) {
        if (completion.mask[t] == 0) continue;
        advantages.push_back(batch.advantages[g][i]);
        staleness.push_back(static_cast<double>(version - completion.versions[t]));
      }
    }
  }
  if (advantages.empty()) return {};
  return {
      {"advantages/mean", internal::mean_of(advantages)}, {"advantages/std", internal::std_of(advantages)},
      {"advantages/min", std::ranges::min(advantages)},   {"advantages/max", std::ranges::max(advantages)},
      {"staleness/mean", internal::mean_of(staleness)},   {"staleness/max", std::ranges::max(staleness)}};
}

// Sum, count and maximum of what is not negative.
struct Spread {
  double sum = 0.0, max = 0.0;
  int64_t count = 0;

  void add(const at::Tensor& values) {
    if (values.numel() == 0) return;
    sum += sum_of(values);
    max = std::max(max, values.max().item<double>());
    count += values.numel();
  }
  void report(const std::string& mean_name, const std::string& max_name, StepMetrics& metrics) const {
    if (count == 0) return;
    metrics[mean_name] = sum / static_cast<double>(count);
    metrics[max_name] = max;
  }
};

}  // namespace

// What the micro-batches of a step add up to.
struct PolicyLearner::Tally {
  int64_t tokens = 0;  // that went through the network
  int64_t sequences = 0;
  double loss = 0.0, entropy = 0.0, mismatch_kl = 0.0;
  std::optional<double> aux_loss;
  double clipped_low_min = 1.0, clipped_high_max = 0.0;  // shares of a sequence
  PolicyLossSums sums{.ratio_max = 0.0, .ratio_min = std::numeric_limits<double>::infinity()};
  Spread same_version_diff, diff;

  void add(const PolicyLossSums& more) {
    sums.policy_loss += more.policy_loss;
    sums.clipped_low += more.clipped_low;
    sums.clipped_high += more.clipped_high;
    sums.dual_clipped += more.dual_clipped;
    sums.kl += more.kl;
    sums.ppo_kl += more.ppo_kl;
    sums.approx_kl += more.approx_kl;
    sums.ratio += more.ratio;
    sums.ratio_max = std::max(sums.ratio_max, more.ratio_max);
    sums.ratio_min = std::min(sums.ratio_min, more.ratio_min);
  }

  void add_sequences(const PolicyLoss& loss, const std::vector<int64_t>& lengths) {
    for (const double share : sequence_shares(loss.clipped_low, lengths)) {
      clipped_low_min = std::min(clipped_low_min, share);
      ++sequences;
    }
    for (const double share : sequence_shares(loss.clipped_high, lengths)) {
      clipped_high_max = std::max(clipped_high_max, share);
    }
  }

  void report(const StepDenominators& step, const PolicyLossOptions& options, StepMetrics& metrics) const {
    // A token left out has advantage 0, so it is neither clipped nor part of the loss.
    const auto all = static_cast<double>(std::max<int64_t>(1, step.tokens));
    metrics["loss"] = loss;
    metrics["policy_loss"] = sums.policy_loss;
    if (aux_loss) metrics["aux_loss"] = *aux_loss;
    metrics["clip_ratio/low_mean"] = sums.clipped_low / all;
    metrics["clip_ratio/high_mean"] = sums.clipped_high / all;
    metrics["clip_ratio/region_mean"] = (sums.clipped_low + sums.clipped_high) / all;
    metrics["clip_ratio/low_min"] = sequences == 0 || sequences < step.nonempty ? 0.0 : clipped_low_min;
    metrics["clip_ratio/high_max"] = clipped_high_max;
    if (options.dual_clip != 0.0) metrics["clip_ratio/dual"] = sums.dual_clipped / all;
    if (tokens == 0) return;

    const auto seen = static_cast<double>(tokens);
    metrics["entropy"] = entropy / seen;
    metrics["ratio/mean"] = sums.ratio / seen;
    metrics["ratio/max"] = sums.ratio_max;
    metrics["ratio/min"] = sums.ratio_min;
    metrics["ppo_kl"] = sums.ppo_kl / seen;
    metrics["approx_kl"] = sums.approx_kl / seen;
    if (options.beta != 0.0) metrics["kl"] = sums.kl / seen;
    if (same_version_diff.count > 0) {
      metrics["mismatch_kl"] = mismatch_kl / static_cast<double>(same_version_diff.count);
    }
    same_version_diff.report("logprob_diff/mean", "logprob_diff/max", metrics);
    diff.report("sampling/logp_diff_mean", "sampling/logp_diff_max", metrics);
  }
};

PolicyLearner::PolicyLearner(model::Network& network, const reference::ReferencePolicy* reference,
                             optim::Optimizer& optimizer, const PolicyLearnerOptions& options)
    : network_(network), reference_(reference), optimizer_(optimizer), options_(options) {
  require(options.temperature > 0.0, "PolicyLearner: a temperature of ", options.temperature,
          " samples nothing to learn from");
  require(options.micro_batch_tokens > 0, "PolicyLearner: micro-batches of ", options.micro_batch_tokens,
          " tokens");
  require(options.loss.beta == 0.0 || reference != nullptr, "PolicyLearner: beta is ", options.loss.beta,
          " and there is no reference policy");
}

void PolicyLearner::learn(const MicroBatch& micro, const StepDenominators& denominators, double share,
                          int64_t version, Tally& tally) {
  const auto out = network_.logprobs(micro.batch, micro.targets, options_.temperature);
  PolicyLossInputs inputs{.logprobs = out.logprobs,
                          .old_logprobs = micro.behaviour_logprobs - micro.kept_mass.log(),
                          .ref_logprobs = {},
                          .advantages = micro.advantages,
                          .weights = aggregation_weights(options_.aggregation, micro.lengths, denominators,
                                                         options_.seq_denominator)
                                         .to(network_.device())};
  if (options_.loss.beta != 0.0) {
    inputs.ref_logprobs = reference_->logprobs(micro.batch, micro.targets, options_.temperature);
  }
  const auto loss = policy_loss(inputs, options_.loss);
  auto objective = loss.loss;
  if (out.balance_loss.defined()) {
    tally.aux_loss = tally.aux_loss.value_or(0.0) + share * out.balance_loss.item<double>();
    if (options_.router_aux_loss != 0.0) {
      objective = objective + out.balance_loss * (options_.router_aux_loss * share);
    }
  }
  objective.backward();

  const c10::NoGradGuard no_grad;
  const auto diff = out.logprobs.detach() - micro.behaviour_logprobs;
  const auto same_version = diff.masked_select(micro.versions.eq(version));
  const auto log_ratio = same_version.clamp(-kMaxLogRatio, kMaxLogRatio);
  tally.tokens += diff.numel();
  tally.loss += objective.item<double>();
  tally.entropy += sum_of(out.entropy);
  tally.add(loss.sums);
  tally.add_sequences(loss, micro.lengths);
  tally.diff.add(diff.abs());
  tally.same_version_diff.add(same_version.abs());
  tally.mismatch_kl += sum_of(log_ratio.expm1() - log_ratio);
}

StepMetrics PolicyLearner::step(const TrainingBatch& batch, int64_t version) {
  const bool with_kl = options_.loss.beta != 0.0;
  StepMetrics metrics = batch_metrics(batch, version);
  Tally tally;
  optimizer_.zero_grad();
  const auto micro_batches = cut_into_micro_batches(batch, options_.micro_batch_tokens, network_.device(),
                                                    with_kl ? IdleGroups::Keep : IdleGroups::LeaveOut);
  int64_t step_rows = 0;
  for (const auto& micro : micro_batches) step_rows += micro.batch.num_rows();
  for (const auto& micro : micro_batches) {
    const double share = static_cast<double>(micro.batch.num_rows()) / static_cast<double>(step_rows);
    learn(micro, batch.denominators, share, version, tally);
  }
  tally.report(batch.denominators, options_.loss, metrics);
  metrics["nonfinite_skips"] = static_cast<double>(optimizer_.num_skipped());
  if (batch.denominators.tokens == 0) return metrics;

  // The clamps of the loss give a log-ratio that is not a number a gradient of 0: the loss has to be asked.
  if (!std::isfinite(tally.loss)) optimizer_.reject();
  const auto update = optimizer_.step();
  metrics["grad_norm"] = update.grad_norm;
  metrics["learning_rate"] = update.lr;
  metrics["nonfinite_skips"] = static_cast<double>(optimizer_.num_skipped());
  return metrics;
}

}  // namespace sluice::learner
