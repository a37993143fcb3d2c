#include "learner/policy_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "base/error.h"
#include "learner/internal/injected.h"
#include "learner/internal/log_ratio.h"
#include "learner/internal/segments.h"

namespace sluice::learner {
namespace {

// Exponents and rates of GammaWeight, and the smallest log of a sequence's ratio.
constexpr double kGammaShape[] = {2.0, 3.0},
                 kGammaRate[] = {3.0, 2.0};  // of positive, of negative advantages
const double kMinLogWeight = std::log(1e-8);

void check_inputs(const PolicyLossInputs& in, const PolicyLossOptions& options) {
  const auto check = [&](const at::Tensor& tensor, const char* name) {
    require(tensor.defined() && tensor.sizes() == in.logprobs.sizes(), "policy_loss: ", name, " is ",
            tensor.defined() ? tensor.sizes() : at::IntArrayRef(), ", logprobs is ", in.logprobs.sizes());
  };
  require(in.logprobs.dim() == 1, "policy_loss: logprobs is ", in.logprobs.sizes());
  check(in.old_logprobs, "old_logprobs");
  check(in.advantages, "advantages");
  check(in.weights, "weights");
  if (in.factors.defined()) check(in.factors, "factors");
  if (options.beta != 0.0) check(in.ref_logprobs, "ref_logprobs");
  if (options.by_sequence()) {
    const auto total = std::accumulate(in.lengths.begin(), in.lengths.end(), int64_t{0});
    require(total == in.logprobs.numel(), "policy_loss: sequences of ", total, " tokens in all, logprobs is ",
            in.logprobs.sizes());
  }
  require(options.clip_low >= 0.0 && options.clip_high >= 0.0, "policy_loss: clip_low is ", options.clip_low,
          ", clip_high is ", options.clip_high);
  require(options.dual_clip == 0.0 || options.dual_clip > 1.0, "policy_loss: dual_clip is ",
          options.dual_clip, ", it is 0 or more than 1");
  require(options.weight_low >= 0.0 && options.weight_high >= options.weight_low,
          "policy_loss: weights are clipped to ", options.weight_low, " to ", options.weight_high);
  require(options.tau_positive > 0.0 && options.tau_negative > 0.0 && options.log_clip > 0.0,
          "policy_loss: tau_positive is ", options.tau_positive, ", tau_negative ", options.tau_negative,
          ", log_clip ", options.log_clip);
}

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

// What a surrogate makes of the tokens. Ratios and clips of a sequence stand at each of its tokens.
struct Terms {
  at::Tensor loss;       // [tokens] carries grad
  at::Tensor ratio;      // [tokens] detached
  at::Tensor low, high;  // [tokens] bool
};

struct Inputs {
  at::Tensor logprobs, log_ratio, advantages;  // [tokens], the first two carry grad
  const internal::Segments* sequences;         // null unless they are wanted
};

at::Tensor ratio_at_level(const Inputs& in, RatioLevel level) {
  const auto whole = [&](const at::Tensor& log_ratio) {
    return in.sequences->to_tokens(internal::ratio_of(log_ratio));
  };
  switch (level) {
    case RatioLevel::Token:
      return internal::ratio_of(in.log_ratio);
    case RatioLevel::Sequence:
      return whole(in.sequences->mean(in.log_ratio));
    case RatioLevel::SequenceSum:
      return whole(in.sequences->sum(in.log_ratio));
    case RatioLevel::SequenceToken:
      return whole(in.sequences->mean(in.log_ratio)).detach() * (in.logprobs - in.logprobs.detach()).exp();
  }
  fail("policy_loss: unknown level ", static_cast<int>(level));
}

Terms clip(const Inputs& in, const PolicyLossOptions& options) {
  const auto ratio = internal::with_injected(Failpoint::Ratio, ratio_at_level(in, options.ratio));
  const auto& advantages = in.advantages;
  const auto clipped = ratio.clamp(1.0 - options.clip_low, 1.0 + options.clip_high);
  auto loss = -at::minimum(ratio * advantages, clipped * advantages);
  if (options.dual_clip != 0.0) {
    const auto bounded = at::minimum(loss, -options.dual_clip * advantages);
    loss = at::where(advantages.lt(0), bounded, loss);
  }
  return {.loss = loss,
          .ratio = ratio.detach(),
          .low = ratio.detach().lt(1.0 - options.clip_low).logical_and_(advantages.lt(0)),
          .high = ratio.detach().gt(1.0 + options.clip_high).logical_and_(advantages.gt(0))};
}

Terms unclipped(const at::Tensor& loss, const at::Tensor& ratio) {
  const auto none = at::zeros_like(ratio, ratio.options().dtype(at::kBool).requires_grad(false));
  return {.loss = loss, .ratio = ratio.detach(), .low = none, .high = none};
}

Terms weight_clip(const Inputs& in, const PolicyLossOptions& options) {
  const auto ratio = internal::ratio_of(in.log_ratio.detach());
  const auto weight = ratio.clamp(options.weight_low, options.weight_high);
  return {.loss = -weight * in.advantages * in.logprobs,
          .ratio = ratio,
          .low = ratio.lt(options.weight_low).logical_and_(in.advantages.lt(0)),
          .high = ratio.gt(options.weight_high).logical_and_(in.advantages.gt(0))};
}

Terms soft_gate(const Inputs& in, const PolicyLossOptions& options) {
  const auto ratio = internal::ratio_of(in.log_ratio);
  const auto tau = at::full_like(in.advantages, options.tau_negative)
                       .masked_fill(in.advantages.gt(0), options.tau_positive);
  return unclipped(-(4.0 / tau) * (tau * (ratio - 1.0)).sigmoid() * in.advantages, ratio);
}

Terms geometric_mean(const Inputs& in, const PolicyLossOptions& options) {
  const auto delta = internal::bounded(in.log_ratio);
  const auto good = in.advantages.gt(0);
  const auto bounded = at::where(good, delta.clamp_max(options.log_clip), delta.clamp_min(-options.log_clip));
  const auto ratio = in.sequences->to_tokens(in.sequences->mean(bounded).exp());
  return {.loss = -in.advantages * ratio,
          .ratio = ratio.detach(),
          .low = delta.detach().lt(-options.log_clip).logical_and_(in.advantages.lt(0)),
          .high = delta.detach().gt(options.log_clip).logical_and_(good)};
}

Terms gamma_weight(const Inputs& in) {
  const auto log_weight = in.sequences->sum(internal::bounded(in.log_ratio.detach()))
                              .clamp(kMinLogWeight, internal::kMaxLogRatio);
  const auto log_w = in.sequences->to_tokens(log_weight), w = log_w.exp();
  const auto phi = [&](int side) { return (kGammaShape[side] * log_w + kGammaRate[side] * (1.0 - w)).exp(); };
  return unclipped(-at::where(in.advantages.ge(0), phi(0), phi(1)) * in.advantages * in.logprobs, w);
}

Terms trust_region(const Inputs& in, const at::Tensor& old_logprobs, const PolicyLossOptions& options) {
  const auto ratio = internal::ratio_of(in.log_ratio);
  const auto moved = in.logprobs.detach().exp() - old_logprobs.exp();
  const auto good = in.advantages.gt(0);
  Terms terms{.loss = {},
              .ratio = ratio.detach(),
              .low = moved.lt(-options.clip_low).logical_and_(good.logical_not()),
              .high = moved.gt(options.clip_high).logical_and_(good)};
  const auto left = terms.low.logical_or(terms.high);
  terms.loss = (-in.advantages * ratio).masked_fill(left, 0) +
               options.trust_kl * internal::bounded(in.log_ratio).square();
  return terms;
}

Terms terms_of(const Inputs& in, const at::Tensor& old_logprobs, const PolicyLossOptions& options) {
  switch (options.surrogate) {
    case Surrogate::Clip:
      return clip(in, options);
    case Surrogate::WeightClip:
      return weight_clip(in, options);
    case Surrogate::SoftGate:
      return soft_gate(in, options);
    case Surrogate::Reinforce:
      return unclipped(-in.advantages * in.logprobs, internal::ratio_of(in.log_ratio));
    case Surrogate::GeometricMean:
      return geometric_mean(in, options);
    case Surrogate::GammaWeight:
      return gamma_weight(in);
    case Surrogate::TrustRegion:
      return trust_region(in, old_logprobs, options);
  }
  fail("policy_loss: unknown surrogate ", static_cast<int>(options.surrogate));
}

// `share` [tokens] is 1, or each token's share of its sequence.
PolicyLossSums sums_of(const Terms& terms, const at::Tensor& log_ratio, const at::Tensor& advantages,
                       const at::Tensor& share, const PolicyLossOptions& options) {
  PolicyLossSums sums;
  if (log_ratio.numel() == 0) return sums;
  const auto delta = internal::bounded(log_ratio);
  sums.clipped_low = sum_of(terms.low * share);
  sums.clipped_high = sum_of(terms.high * share);
  if (options.dual_clip != 0.0) {
    sums.dual_clipped = sum_of(terms.ratio.gt(options.dual_clip).logical_and_(advantages.lt(0)) * share);
  }
  sums.ratio = sum_of(terms.ratio * share);
  sums.ratio_max = terms.ratio.max().item<double>();
  sums.ratio_min = terms.ratio.min().item<double>();
  sums.ppo_kl = -sum_of(delta);
  sums.approx_kl = sum_of(delta.expm1().sub_(delta));
  return sums;
}

}  // namespace

PolicyLoss policy_loss(const PolicyLossInputs& in, const PolicyLossOptions& options) {
  check_inputs(in, options);
  const auto type = in.logprobs.scalar_type();
  const auto advantages = in.advantages.detach().to(type);
  const auto weights = in.weights.detach().to(type);
  const auto old_logprobs = in.old_logprobs.detach();
  const auto log_ratio = in.logprobs - old_logprobs;
  std::optional<internal::Segments> sequences;
  if (options.by_sequence()) sequences.emplace(in.lengths, weights);
  const Inputs inputs{.logprobs = in.logprobs,
                      .log_ratio = log_ratio,
                      .advantages = advantages,
                      .sequences = sequences ? &*sequences : nullptr};

  const auto terms = terms_of(inputs, old_logprobs, options);
  auto token_loss = in.factors.defined() ? terms.loss * in.factors.detach().to(type) : terms.loss;
  const auto share =
      sequences ? sequences->to_tokens(sequences->lengths().reciprocal()) : at::ones_like(weights);

  PolicyLoss result;
  result.ratio = terms.ratio;
  result.clipped_low = terms.low;
  result.clipped_high = terms.high;
  result.sums = sums_of(terms, log_ratio.detach(), advantages, share, options);
  result.sums.policy_loss = sum_of(token_loss.detach() * weights);
  if (options.beta != 0.0) {
    const auto ratio = internal::ratio_of(log_ratio);
    const auto kl = kl_estimate(in.logprobs, in.ref_logprobs, options.kl, ratio);
    result.kl = kl.detach();
    result.sums.kl = sum_of(result.kl);
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
