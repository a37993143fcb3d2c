#include "learner/off_policy.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "learner/internal/log_ratio.h"
#include "learner/internal/segments.h"

namespace sluice::learner {
namespace {

void check_same(const at::Tensor& a, const at::Tensor& b, const char* who) {
  require(a.dim() == 1 && a.sizes() == b.sizes(), who, ": ", a.sizes(), " tokens and ", b.sizes());
}

at::Tensor inside(const at::Tensor& values, double low, double high) {
  return values.ge(low).logical_and_(values.le(high));
}

}  // namespace

CorrectionWeights correction_weights(const at::Tensor& proximal, const at::Tensor& behaviour,
                                     const std::vector<int64_t>& lengths, const CorrectionOptions& options) {
  check_same(proximal, behaviour, "correction_weights");
  require(options.low >= 0.0 && options.high >= options.low && options.mean_low >= 0.0 &&
              options.mean_high >= options.mean_low,
          "correction_weights: bounds of ", options.low, " to ", options.high, " and ", options.mean_low,
          " to ", options.mean_high);
  const auto log_rho = (proximal - behaviour).detach();
  const internal::Segments sequences(lengths, log_rho);
  const auto rho = internal::ratio_of(log_rho);
  const bool by_sequence =
      options.kind == Correction::TruncateSequence || options.kind == Correction::MaskSequence;
  const auto weight = by_sequence ? sequences.to_tokens(internal::ratio_of(sequences.sum(log_rho))) : rho;

  CorrectionWeights result{.rho = rho, .weights = {}};
  switch (options.kind) {
    case Correction::None:
      result.weights = at::ones_like(rho);
      break;
    case Correction::TruncateToken:
    case Correction::TruncateSequence:
      result.weights = weight.clamp(options.low, options.high);
      break;
    case Correction::MaskToken:
    case Correction::MaskSequence:
      result.weights = weight.masked_fill(inside(weight, options.low, options.high).logical_not(), 0);
      break;
  }
  const auto mean = internal::ratio_of(sequences.mean(log_rho));
  const auto far = sequences.to_tokens(inside(mean, options.mean_low, options.mean_high).logical_not());
  result.weights = result.weights.masked_fill(far, 0);
  return result;
}

void RatioSums::add(const at::Tensor& rho, double threshold) {
  require(threshold > 1.0, "RatioSums: a threshold of ", threshold);
  if (rho.numel() == 0) return;
  const auto values = rho.to(at::kDouble);
  const auto inner = values.clamp(1.0 / threshold, threshold);
  count += values.numel();
  sum += values.sum().item<double>();
  max = std::max(max, values.max().item<double>());
  min = std::min(min, values.min().item<double>());
  bounded += inner.sum().item<double>();
  bounded_squares += inner.square().sum().item<double>();
  above += values.gt(threshold).sum().item<double>();
  below += values.lt(1.0 / threshold).sum().item<double>();
}

double RatioSums::effective_share() const {
  return count == 0 ? 1.0 : bounded * bounded / (static_cast<double>(count) * bounded_squares);
}

at::Tensor proximal_between(const at::Tensor& logprobs, const at::Tensor& behaviour,
                            const at::Tensor& versions, int64_t current_version) {
  check_same(logprobs, behaviour, "proximal_between");
  const auto age = (current_version - versions).to(logprobs.scalar_type());
  auto alpha = ((age - 1) / age.clamp_min(1)).clamp(0, 1);
  alpha = alpha.masked_fill(versions.lt(0), 0);
  return behaviour + alpha * (logprobs.detach() - behaviour);
}

at::Tensor keep_near_sequences(const at::Tensor& logprobs, const at::Tensor& old,
                               const at::Tensor& advantages, const std::vector<int64_t>& lengths,
                               double max_kl) {
  check_same(logprobs, old, "keep_near_sequences");
  const internal::Segments sequences(lengths, old);
  const auto kl = sequences.mean(old - logprobs.detach());
  const auto far = sequences.to_tokens(kl.gt(max_kl));
  return far.logical_and(advantages.lt(0)).logical_not();
}

at::Tensor keep_small_moments(const at::Tensor& proximal, const at::Tensor& behaviour, double threshold) {
  check_same(proximal, behaviour, "keep_small_moments");
  const int64_t count = proximal.numel();
  auto keep = at::ones({count}, proximal.options().dtype(at::kBool));
  if (count == 0) return keep;
  const auto [sorted, order] = (behaviour - proximal)
                                   .detach()
                                   .to(at::kDouble)
                                   .square()
                                   .sort(
                                       /*stable=*/true, /*dim=*/0, /*descending=*/true);
  // What remains without the first i, and its mean.
  const auto rest = sorted.sum() - sorted.cumsum(0) + sorted;
  const auto means = rest / at::arange(count, 0, -1, sorted.options());
  const int64_t dropped = std::min(means.ge(threshold).sum().item<int64_t>(), count - 1);
  keep.index_fill_(0, order.narrow(0, 0, dropped), false);
  return keep;
}

at::Tensor keep_high_entropy(const at::Tensor& entropy, double share) {
  require(share > 0.0 && share <= 1.0, "keep_high_entropy: a share of ", share);
  if (entropy.numel() == 0) return at::ones_like(entropy, entropy.options().dtype(at::kBool));
  // at::quantile() takes no more than 16 million numbers.
  const auto sorted = std::get<0>(entropy.detach().to(at::kDouble).sort());
  const double place = (1.0 - share) * static_cast<double>(sorted.numel() - 1);
  const auto below = static_cast<int64_t>(place);
  const int64_t above = std::min(below + 1, sorted.numel() - 1);
  const double low = sorted[below].item<double>(), high = sorted[above].item<double>();
  return entropy.detach().to(at::kDouble).ge(low + (high - low) * (place - static_cast<double>(below)));
}

}  // namespace sluice::learner
