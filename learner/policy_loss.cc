#include "learner/policy_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace sluice::learner {
namespace {

constexpr double kMaxLogRatio = 20.0;  // exp() of more says nothing and overflows in float32 at 88
constexpr double kMaxLowVarKl = 10.0;

void check_inputs(const PolicyLossInputs& in, const PolicyLossOptions& options) {
  const auto check = [&](const at::Tensor& tensor, const char* name) {
    require(tensor.defined() && tensor.sizes() == in.logprobs.sizes(), "policy_loss: ", name, " is ",
            tensor.defined() ? tensor.sizes() : at::IntArrayRef(), ", logprobs is ", in.logprobs.sizes());
  };
  require(in.logprobs.dim() == 1, "policy_loss: logprobs is ", in.logprobs.sizes());
  check(in.old_logprobs, "old_logprobs");
  check(in.advantages, "advantages");
  check(in.weights, "weights");
  if (options.beta != 0.0) check(in.ref_logprobs, "ref_logprobs");
  require(options.clip_low >= 0.0 && options.clip_high >= 0.0, "policy_loss: clip_low is ", options.clip_low,
          ", clip_high is ", options.clip_high);
}

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

// Of detached log-ratio and ratio.
PolicyLossSums sums_of(const at::Tensor& delta, const at::Tensor& ratio, const at::Tensor& advantages,
                       const PolicyLossOptions& options) {
  PolicyLossSums sums;
  if (delta.numel() == 0) return sums;
  sums.clipped_low = sum_of(ratio.lt(1.0 - options.clip_low).logical_and_(advantages.lt(0)));
  sums.clipped_high = sum_of(ratio.gt(1.0 + options.clip_high).logical_and_(advantages.gt(0)));
  sums.ratio = sum_of(ratio);
  sums.ratio_max = ratio.max().item<double>();
  sums.ratio_min = ratio.min().item<double>();
  sums.ppo_kl = -sum_of(delta);
  sums.approx_kl = sum_of(delta.expm1().sub_(delta));
  return sums;
}

}  // namespace

at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& ref_logprobs, KlEstimator estimator) {
  const auto d = logprobs - ref_logprobs.detach();
  switch (estimator) {
    case KlEstimator::K1:
      return d;
    case KlEstimator::K2:
      return d.square() * 0.5;
    case KlEstimator::K3:
      return (-d).exp() - 1.0 + d;
    case KlEstimator::LowVar: {
      const auto c = (-d).clamp(-kMaxLogRatio, kMaxLogRatio);
      return (c.exp() - c - 1.0).clamp(-kMaxLowVarKl, kMaxLowVarKl);
    }
    case KlEstimator::Abs:
      return d.abs();
  }
  fail("kl_estimate: unknown estimator ", static_cast<int>(estimator));
}

at::Tensor aggregation_weights(Aggregation mode, const std::vector<int64_t>& lengths,
                               const StepDenominators& step) {
  const auto at_least_one = [](int64_t count) { return static_cast<double>(std::max<int64_t>(1, count)); };
  const double sequences = at_least_one(step.sequences);
  std::vector<double> weights;
  weights.reserve(static_cast<size_t>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0})));
  for (const int64_t length : lengths) {
    require(length >= 0, "aggregation_weights: a sequence of ", length, " tokens");
    double divisor = sequences;  // SeqMeanTokenSum
    if (mode == Aggregation::TokenMean) divisor = at_least_one(step.tokens);
    if (mode == Aggregation::SeqMeanTokenMean) divisor = sequences * at_least_one(length);
    if (mode == Aggregation::SeqMeanTokenSumNorm) divisor = sequences * at_least_one(step.max_length);
    weights.insert(weights.end(), static_cast<size_t>(length), 1.0 / divisor);
  }
  return at::tensor(weights, at::kDouble);
}

PolicyLoss policy_loss(const PolicyLossInputs& in, const PolicyLossOptions& options) {
  check_inputs(in, options);
  const auto type = in.logprobs.scalar_type();
  const auto advantages = in.advantages.detach().to(type);
  const auto weights = in.weights.detach().to(type);

  const auto delta = (in.logprobs - in.old_logprobs.detach()).clamp(-kMaxLogRatio, kMaxLogRatio);
  const auto ratio = delta.exp();  // [tokens]
  const auto clipped = ratio.clamp(1.0 - options.clip_low, 1.0 + options.clip_high);
  auto token_loss = -at::minimum(ratio * advantages, clipped * advantages);

  PolicyLoss result;
  result.sums = sums_of(delta.detach(), ratio.detach(), advantages, options);
  result.sums.policy_loss = sum_of(token_loss.detach() * weights);
  if (options.beta != 0.0) {
    const auto kl = kl_estimate(in.logprobs, in.ref_logprobs, options.kl);
    result.sums.kl = sum_of(kl.detach());
    token_loss = token_loss + options.beta * kl;
  }
  result.loss = (token_loss * weights).sum();
  result.token_loss = token_loss.detach();
  return result;
}

}  // namespace sluice::learner
