#include "learner/internal/pair_losses.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace sluice::learner::internal {
namespace {

using enum PreferenceType;

constexpr double kMaxExponent = 80.0;  // float32 overflows at 88
constexpr double kLeastSurprise = -1e-7;

at::Tensor difference(const Scores& scores) { return scores.chosen - scores.rejected; }

Scores policy_of(const PreferenceLossInputs& in) { return {in.policy_chosen, in.policy_rejected}; }

Scores log_ratios(const PreferenceLossInputs& in) {
  return {in.policy_chosen - in.ref_chosen.detach(), in.policy_rejected - in.ref_rejected.detach()};
}

Scores per_token(const Scores& sums, const PreferenceLossInputs& in) {
  const auto average = [](const at::Tensor& sum, const std::vector<int64_t>& lengths) {
    return sum / at::tensor(lengths, at::kLong).to(sum.options().requires_grad(false));
  };
  return {average(sums.chosen, in.chosen_lengths), average(sums.rejected, in.rejected_lengths)};
}

// (exp(power * x) - 1) / power, which is x where power is 0. Past the bound it has no gradient.
at::Tensor bounded_power(const at::Tensor& x, double power) {
  return power == 0.0 ? x : (power * x).clamp_max(kMaxExponent).expm1() / power;
}

// The score of a log-ratio, less a constant that differences do not show.
at::Tensor divergence_score(const at::Tensor& x, const PreferenceTerm& term) {
  switch (term.divergence) {
    case Divergence::ReverseKl:
      return x;
    case Divergence::ForwardKl:
      return bounded_power(x, -1.0);
    case Divergence::Js:
      return at::log_sigmoid(x);
    case Divergence::Alpha:
      return bounded_power(x, term.divergence_alpha - 1.0);
  }
  fail("preference_loss: unknown divergence ", static_cast<int>(term.divergence));
}

// The cross-entropy of a preference that is wrong with probability e (cDPO 2023).
at::Tensor smoothed(const at::Tensor& logit, double e) {
  const auto loss = -at::log_sigmoid(logit);
  return e == 0.0 ? loss : (1.0 - e) * loss - e * at::log_sigmoid(-logit);
}

at::Tensor sorted_difference(const at::Tensor& a, const at::Tensor& b) {
  return std::get<0>(a.sort()) - std::get<0>(b.sort());
}

// log(1 - exp(x)) of x < 0. Each branch sees only what it is for: the other one's infinite slope times 0
// would be NaN.
at::Tensor log1mexp(const at::Tensor& x) {
  constexpr double kMiddle = -std::numbers::ln2;
  const auto far = at::log1p(-x.clamp_max(kMiddle).exp());
  const auto near = at::log(-x.clamp(kMiddle, kLeastSurprise).expm1());
  return at::where(x.lt(kMiddle), far, near);
}

}  // namespace

Scores scores_of(const PreferenceTerm& term, const PreferenceLossInputs& in) {
  switch (term.type) {
    case Cpo:
    case CpoHinge:
    case Sft:
      return policy_of(in);
    case CpoIpo:
    case Orpo:
      return per_token(policy_of(in), in);
    case Simpo: {
      const auto average = per_token(policy_of(in), in);
      return {bounded_power(average.chosen, -term.alpha), bounded_power(average.rejected, -term.alpha)};
    }
    default:
      return log_ratios(in);
  }
}

at::Tensor log_odds_ratio(const at::Tensor& chosen_average, const at::Tensor& rejected_average) {
  const auto log_odds = [](const at::Tensor& average) {
    const auto x = average.clamp_max(kLeastSurprise);
    return x - log1mexp(x);
  };
  return log_odds(chosen_average) - log_odds(rejected_average);
}

at::Tensor pair_losses(const PreferenceTerm& term, const PreferenceLossInputs& in) {
  const double e = term.label_smoothing, target = 0.5 / term.beta;
  const auto score = scores_of(term, in);
  const auto a = term.beta * score.chosen, b = term.beta * score.rejected;
  const auto s = term.beta * (divergence_score(score.chosen, term) - divergence_score(score.rejected, term));
  switch (term.type) {
    case Sigmoid:
    case Cdpo:
    case Cpo:
      return smoothed(s, e);
    case Simpo:
      return smoothed(s - term.gamma, e);
    case SigmoidNorm:
      return smoothed(term.beta * difference(per_token(score, in)), e);
    case Robust:
      return (e * at::log_sigmoid(-s) - (1.0 - e) * at::log_sigmoid(s)) / (1.0 - 2.0 * e);
    case Hinge:
    case CpoHinge:
      return (1.0 - s).relu();
    case Ipo:
      return (difference(per_token(score, in)) - target).square();
    case IpoSum:
    case CpoIpo:
      return (difference(score) - target).square();
    case ExoPair:
      return s.sigmoid() * (at::log_sigmoid(s) - std::log1p(-e)) +
             (-s).sigmoid() * (at::log_sigmoid(-s) - std::log(e));
    case NcaPair:
      return -at::log_sigmoid(a) - 0.5 * at::log_sigmoid(-a) - 0.5 * at::log_sigmoid(-b);
    case BcoPair:
      return -at::log_sigmoid(a) - at::log_sigmoid(-b);
    case SppoHard:
      return (score.chosen - target).square() + (score.rejected + target).square();
    case ApoZero:
      return (-a).sigmoid() + b.sigmoid();
    case ApoDown:
      return a.sigmoid() + (-s).sigmoid();
    case Discopop: {  // exp(-s) * sigmoid(s / tau) in one exponent, as exp(-s) alone overflows
      const auto blend = s / term.tau;
      return (-blend).sigmoid() * -at::log_sigmoid(s) + (at::log_sigmoid(blend) - s).exp();
    }
    case Aot:
      return smoothed(term.beta * sorted_difference(difference(policy_of(in)),
                                                    (in.ref_chosen - in.ref_rejected).detach()),
                      e);
    case AotUnpaired:
      return smoothed(term.beta * sorted_difference(score.chosen, score.rejected), e);
    case Orpo:
      return -term.beta * at::log_sigmoid(log_odds_ratio(score.chosen, score.rejected));
    case Sft:
      break;
  }
  fail("preference_loss: type ", static_cast<int>(term.type), " compares no pairs");
}

}  // namespace sluice::learner::internal
