#include "learner/internal/step_tally.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "learner/internal/log_ratio.h"
#include "learner/internal/statistics.h"

namespace sluice::learner::internal {
namespace {

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

enum class Fold { Sum, Min, Max };

double fold(Fold how, double a, double b) {
  switch (how) {
    case Fold::Min:
      return std::min(a, b);
    case Fold::Max:
      return std::max(a, b);
    default:
      return a + b;
  }
}

}  // namespace

void Spread::add(const at::Tensor& values) {
  if (values.numel() == 0) return;
  sum += sum_of(values);
  max = std::max(max, values.max().item<double>());
  count += values.numel();
}

void Spread::report(const std::string& mean_name, const std::string& max_name, StepMetrics& metrics) const {
  if (count == 0) return;
  metrics[mean_name] = sum / static_cast<double>(count);
  metrics[max_name] = max;
}

void StepTally::add(const PolicyLossSums& more) {
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

void StepTally::add_sequences(const PolicyLoss& loss, const std::vector<int64_t>& lengths) {
  for (const double share : sequence_shares(loss.clipped_low, lengths)) {
    clipped_low_min = std::min(clipped_low_min, share);
    ++sequences;
  }
  for (const double share : sequence_shares(loss.clipped_high, lengths)) {
    clipped_high_max = std::max(clipped_high_max, share);
  }
}

void StepTally::add_mismatch(const MicroBatch& micro, const at::Tensor& logprobs, int64_t version) {
  const auto difference = logprobs - micro.behaviour_logprobs;
  const auto same_version = difference.masked_select(micro.versions.eq(version));
  const auto log_ratio = bounded(same_version);
  diff.add(difference.abs());
  same_version_diff.add(same_version.abs());
  mismatch_kl += sum_of(log_ratio.expm1() - log_ratio);
}

// In one order on every rank, with how those of several become one.
template <class Visit>
void StepTally::for_each_number(const Visit& visit) {
  for (auto* count : {&tokens, &sequences, &aux_losses, &rho.count}) visit(*count, Fold::Sum);
  for (auto* sum : {&loss, &entropy, &mismatch_kl, &masked, &aux_loss}) visit(*sum, Fold::Sum);
  for (auto* sum : {&sums.policy_loss, &sums.clipped_low, &sums.clipped_high, &sums.dual_clipped, &sums.kl,
                    &sums.ppo_kl, &sums.approx_kl, &sums.ratio})
    visit(*sum, Fold::Sum);
  for (auto* sum : {&rho.sum, &rho.bounded, &rho.bounded_squares, &rho.above, &rho.below})
    visit(*sum, Fold::Sum);
  for (auto* least : {&clipped_low_min, &sums.ratio_min, &rho.min}) visit(*least, Fold::Min);
  for (auto* most : {&clipped_high_max, &sums.ratio_max, &rho.max}) visit(*most, Fold::Max);
  for (auto* spread : {&same_version_diff, &diff, &sequence_kl}) {
    visit(spread->sum, Fold::Sum);
    visit(spread->count, Fold::Sum);
    visit(spread->max, Fold::Max);
  }
}

void StepTally::take_together(transport::Collective& ranks) {
  if (ranks.size() == 1) return;
  std::vector<double> own;
  for_each_number([&own](auto& number, Fold) { own.push_back(static_cast<double>(number)); });
  const auto all = transport::gather(ranks, own);
  size_t i = 0;
  for_each_number([&](auto& number, Fold how) {
    double together = all.front()[i];
    for (size_t rank = 1; rank < all.size(); ++rank) together = fold(how, together, all[rank][i]);
    number = static_cast<std::remove_reference_t<decltype(number)>>(together);
    ++i;
  });
}

void StepTally::report(const PolicyLearnerOptions& options, StepMetrics& metrics) const {
  const auto at_least_one = [](int64_t count) { return static_cast<double>(std::max<int64_t>(1, count)); };
  // A token left out has advantage 0, so it is neither clipped nor part of the loss.
  const bool whole = options.loss.by_sequence();
  const double all = at_least_one(whole ? step_nonempty : step_tokens), steps = at_least_one(updates);
  metrics["loss"] = loss / steps;
  metrics["policy_loss"] = sums.policy_loss / steps;
  if (aux_losses > 0) metrics["aux_loss"] = aux_loss / steps;
  metrics["clip_ratio/low_mean"] = sums.clipped_low / all;
  metrics["clip_ratio/high_mean"] = sums.clipped_high / all;
  metrics["clip_ratio/region_mean"] = (sums.clipped_low + sums.clipped_high) / all;
  metrics["clip_ratio/low_min"] = sequences == 0 || sequences < step_nonempty ? 0.0 : clipped_low_min;
  metrics["clip_ratio/high_max"] = clipped_high_max;
  if (options.loss.dual_clip != 0.0) metrics["clip_ratio/dual"] = sums.dual_clipped / all;
  if (sequence_kl.count > 0) {
    metrics["kl/sequence_mean"] = sequence_kl.sum / static_cast<double>(sequence_kl.count);
  }
  if (tokens == 0) return;

  const auto seen = static_cast<double>(tokens);
  const double ratios = whole ? at_least_one(sequences) : seen;
  metrics["entropy"] = entropy / seen;
  metrics["ratio/mean"] = sums.ratio / ratios;
  metrics["ratio/max"] = sums.ratio_max;
  metrics["ratio/min"] = sums.ratio_min;
  metrics["ppo_kl"] = sums.ppo_kl / seen;
  metrics["approx_kl"] = sums.approx_kl / seen;
  if (options.loss.beta != 0.0 && !options.kl_in_reward) metrics["kl"] = sums.kl / seen;
  report_corrections(options, metrics);
  if (same_version_diff.count > 0) {
    metrics["mismatch_kl"] = mismatch_kl / static_cast<double>(same_version_diff.count);
  }
  same_version_diff.report("logprob_diff/mean", "logprob_diff/max", metrics);
  diff.report("sampling/logp_diff_mean", "sampling/logp_diff_max", metrics);
}

void StepTally::report_corrections(const PolicyLearnerOptions& options, StepMetrics& metrics) const {
  const bool masks = options.max_sequence_kl > 0.0 || options.moment_threshold > 0.0 ||
                     options.entropy_share < 1.0 || options.correction.kind != Correction::None;
  if (masks) metrics["masked_fraction"] = masked / static_cast<double>(tokens);
  if (rho.count == 0) return;
  const auto count = static_cast<double>(rho.count);
  metrics["rollout_is/mean"] = rho.sum / count;
  metrics["rollout_is/max"] = rho.max;
  metrics["rollout_is/min"] = rho.min;
  metrics["rollout_is/ess"] = rho.effective_share();
  metrics["rollout_is/fraction_high"] = rho.above / count;
  metrics["rollout_is/fraction_low"] = rho.below / count;
}

}  // namespace sluice::learner::internal
