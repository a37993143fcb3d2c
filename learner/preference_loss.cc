#include "learner/preference_loss.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "learner/internal/pair_losses.h"

namespace sluice::learner {
namespace {

using enum PreferenceType;

void check_lengths(const std::vector<int64_t>& lengths, int64_t pairs, const char* name) {
  require(std::ssize(lengths) == pairs, "preference_loss: ", lengths.size(), " lengths of ", name,
          " completions for ", pairs, " pairs");
  for (size_t i = 0; i < lengths.size(); ++i) {
    require(lengths[i] > 0, "preference_loss: the ", name, " completion of pair ", i, " has ", lengths[i],
            " tokens");
  }
}

bool has_sft(const std::vector<PreferenceTerm>& terms) {
  return std::ranges::find(terms, Sft, &PreferenceTerm::type) != terms.end();
}

void check_inputs(const PreferenceLossInputs& in, const std::vector<PreferenceTerm>& terms,
                  const PreferenceDenominators& step) {
  const auto check = [&](const at::Tensor& tensor, const char* name) {
    require(tensor.defined(), "preference_loss: there is no ", name);
    require(tensor.dim() == 1 && tensor.sizes() == in.policy_chosen.sizes(), "preference_loss: ", name,
            " is ", tensor.sizes(), ", policy_chosen is ", in.policy_chosen.sizes());
  };
  check(in.policy_chosen, "policy_chosen");
  check(in.policy_rejected, "policy_rejected");
  if (needs_reference(terms)) {
    check(in.ref_chosen, "ref_chosen");
    check(in.ref_rejected, "ref_rejected");
  }
  if (in.sft_logps.defined()) check(in.sft_logps, "sft_logps");
  if (in.pair_weights.defined()) check(in.pair_weights, "pair_weights");

  const int64_t pairs = in.policy_chosen.numel();
  check_lengths(in.chosen_lengths, pairs, "chosen");
  check_lengths(in.rejected_lengths, pairs, "rejected");
  require(step.pairs > 0 && step.pairs >= pairs, "preference_loss: ", pairs, " pairs of a step of ",
          step.pairs);
  require(!has_sft(terms) || step.sft_tokens > 0, "preference_loss: sft in a step of ", step.sft_tokens,
          " tokens");
  if (needs_whole_step(terms)) {
    require(step.pairs == pairs, "preference_loss: terms that sort have ", pairs, " of the step's ",
            step.pairs, " pairs");
    require(!in.pair_weights.defined(), "preference_loss: terms that sort part the ", pairs,
            " pairs that pair_weights is of");
  }
}

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

PreferenceLossSums sums_of(const PreferenceLossInputs& in, const PreferenceTerm& term) {
  const auto score = internal::scores_of(term, in);
  const auto& learned = in.sft_logps.defined() ? in.sft_logps : in.policy_chosen;
  return {.pairs = in.policy_chosen.numel(),
          .rewards_chosen = term.beta * sum_of(score.chosen),
          .rewards_rejected = term.beta * sum_of(score.rejected),
          .correct = sum_of(score.chosen.gt(score.rejected)),
          .logps_chosen = sum_of(in.policy_chosen),
          .logps_rejected = sum_of(in.policy_rejected),
          .nll = -sum_of(learned)};
}

}  // namespace

PreferenceLoss preference_loss(const PreferenceLossInputs& in, const std::vector<PreferenceTerm>& terms,
                               const PreferenceDenominators& step) {
  check_terms(terms);
  check_inputs(in, terms, step);

  auto pair_loss = at::zeros_like(in.policy_chosen);
  double sft_weight = 0.0;
  for (const auto& term : terms) {
    if (term.type == Sft) {
      sft_weight += term.weight;
    } else {
      pair_loss = pair_loss + term.weight * internal::pair_losses(term, in);
    }
  }
  if (in.pair_weights.defined()) pair_loss = pair_loss * in.pair_weights.detach();

  PreferenceLoss result;
  result.loss = pair_loss.sum() / static_cast<double>(step.pairs);
  if (sft_weight != 0.0) {
    const auto& learned = in.sft_logps.defined() ? in.sft_logps : in.policy_chosen;
    result.loss = result.loss - learned.sum() * (sft_weight / static_cast<double>(step.sft_tokens));
  }
  result.pair_loss = pair_loss.detach();
  result.sums = sums_of(in, *std::ranges::find_if(terms, [](const auto& term) { return term.type != Sft; }));
  return result;
}

}  // namespace sluice::learner
