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
  require(options.dual_clip == 0.0 || options.dual_clip > 1.0, "policy_loss: dual_clip is ",
          options.dual_clip, ", it is 0 or more than 1");
}

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

// The value of one tensor with the gradient of another.
at::Tensor straight_through(const at::Tensor& value, const at::Tensor& gradient) {
  return gradient - gradient.detach() + value.detach();
}

// Of detached log-ratio and ratio.
PolicyLossSums sums_of(const at::Tensor& delta, const at::Tensor& ratio, const at::Tensor& advantages,
                       const PolicyLossOptions& options) {
  PolicyLossSums sums;
  if (delta.numel() == 0) return sums;
  if (options.dual_clip != 0.0) {
    sums.dual_clipped = sum_of(ratio.gt(options.dual_clip).logical_and_(advantages.lt(0)));
  }
  sums.ratio = sum_of(ratio);
  sums.ratio_max = ratio.max().item<double>();
  sums.ratio_min = ratio.min().item<double>();
  sums.ppo_kl = -sum_of(delta);
  sums.approx_kl = sum_of(delta.expm1().sub_(delta));
  return sums;
}

}  // namespace

at::Tensor kl_estimate(const at::Tensor& logprobs, const at::Tensor& ref_logprobs, KlEstimator estimator,
                       const at::Tensor& ratio) {
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
    case KlEstimator::K1Plus:
      return straight_through(d, kl_estimate(logprobs, ref_logprobs, KlEstimator::K2));
    case KlEstimator::K3Plus:
      return straight_through(kl_estimate(logprobs, ref_logprobs, KlEstimator::LowVar),
                              kl_estimate(logprobs, ref_logprobs, KlEstimator::K2));
    case KlEstimator::K3Is:
      require(ratio.defined() && ratio.sizes() == d.sizes(), "kl_estimate: K3Is has a ratio of ",
              ratio.defined() ? ratio.sizes() : at::IntArrayRef(), " for logprobs of ", d.sizes());
      return ratio * kl_estimate(logprobs, ref_logprobs, KlEstimator::K3);
  }
  fail("kl_estimate: unknown estimator ", static_cast<int>(estimator));
}

at::Tensor aggregation_weights(Aggregation mode, const std::vector<int64_t>& lengths,
                               const StepDenominators& step, SequenceDenominator counted) {
  const auto at_least_one = [](int64_t count) { return static_cast<double>(std::max<int64_t>(1, count)); };
  const double sequences = at_least_one(counted == SequenceDenominator::All ? step.sequences : step.nonempty);
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
  if (options.dual_clip != 0.0) {
    const auto bounded = at::minimum(token_loss, -options.dual_clip * advantages);
    token_loss = at::where(advantages.lt(0), bounded, token_loss);
  }

  PolicyLoss result;
  result.clipped_low = ratio.detach().lt(1.0 - options.clip_low).logical_and_(advantages.lt(0));
  result.clipped_high = ratio.detach().gt(1.0 + options.clip_high).logical_and_(advantages.gt(0));
  result.sums = sums_of(delta.detach(), ratio.detach(), advantages, options);
  result.sums.clipped_low = sum_of(result.clipped_low);
  result.sums.clipped_high = sum_of(result.clipped_high);
  result.sums.policy_loss = sum_of(token_loss.detach() * weights);
  if (options.beta != 0.0) {
    const auto kl = kl_estimate(in.logprobs, in.ref_logprobs, options.kl, ratio);
    result.sums.kl = sum_of(kl.detach());
    token_loss = token_loss + options.beta * kl;
  }
  result.loss = (token_loss * weights).sum();
  result.token_loss = token_loss.detach();
  return result;
}

std::vector<double> sequence_shares(const at::Tensor& flags, const std::vector<int64_t>& lengths) {
  const auto on_cpu = flags.to(at::kCPU, at::kBool).contiguous();
  require(std::accumulate(lengths.begin(), lengths.end(), int64_t{0}) == on_cpu.numel(),
          "sequence_shares: the lengths do not add up to ", on_cpu.numel(), " flags");
  std::vector<double> shares;
  const bool* next = on_cpu.const_data_ptr<bool>();
  for (const int64_t length : lengths) {
    if (length == 0) continue;
    shares.push_back(static_cast<double>(std::count(next, next + length, true)) /
                     static_cast<double>(length));
    next += length;
  }
  return shares;
}

}  // namespace sluice::learner
