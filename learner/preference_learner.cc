#include "learner/preference_learner.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "learner/completion_logps.h"
#include "learner/internal/preference_update.h"
#include "transport/collective.h"

namespace sluice::learner {
namespace {

constexpr int64_t kLogitRows = 1024;  // whose logits are there at once

bool is_sft(const PreferenceTerm& term) { return term.type == PreferenceType::Sft; }

PreferenceDenominators denominators_of(std::span<const PreferenceExample> pairs, bool nll_over_prompt) {
  PreferenceDenominators step{.pairs = std::ssize(pairs), .sft_tokens = 0};
  for (const auto& pair : pairs) {
    step.sft_tokens += num_targets(pair.completions.front());
    if (nll_over_prompt) step.sft_tokens += std::ssize(pair.prompt) - 1;
  }
  return step;
}

// `logps` [pairs, 2 or 3]: of chosen, of rejected, and of what Sft learns where that is something else.
// `examples` are the places of these pairs in `reference` [pairs of the step, 2].
PreferenceLossInputs inputs_of(const at::Tensor& logps, const at::Tensor& reference,
                               const std::vector<int64_t>& lengths, const std::vector<int64_t>& examples) {
  PreferenceLossInputs in{.policy_chosen = logps.select(1, 0), .policy_rejected = logps.select(1, 1)};
  if (reference.defined()) {
    const auto own = reference.index_select(0, at::tensor(examples, at::kLong)).to(logps.device());
    in.ref_chosen = own.select(1, 0);
    in.ref_rejected = own.select(1, 1);
  }
  for (size_t i = 0; i < lengths.size(); i += 2) {
    in.chosen_lengths.push_back(lengths[i]);
    in.rejected_lengths.push_back(lengths[i + 1]);
  }
  if (logps.size(1) == 3) in.sft_logps = logps.select(1, 2);
  return in;
}

// The loss of a step all of whose log-probs are there at once, and its gradient [pairs, 2 or 3].
struct WholeStep {
  PreferenceLoss loss;
  at::Tensor gradient;
};

WholeStep whole_step(const at::Tensor& logps, const at::Tensor& reference,
                     std::span<const PreferenceExample> pairs, const std::vector<PreferenceTerm>& terms,
                     const PreferenceDenominators& step) {
  const auto leaves = logps.detach().requires_grad_();
  std::vector<int64_t> lengths, examples;
  for (const auto& pair : pairs) {
    examples.push_back(std::ssize(examples));
    for (const auto& completion : pair.completions) lengths.push_back(num_targets(completion));
  }
  auto loss = preference_loss(inputs_of(leaves, reference, lengths, examples), terms, step);
  loss.loss.backward();
  return {.loss = std::move(loss), .gradient = leaves.grad()};
}

void add(const PreferenceLossSums& more, PreferenceLossSums& sums) {
  sums.pairs += more.pairs;
  sums.rewards_chosen += more.rewards_chosen;
  sums.rewards_rejected += more.rewards_rejected;
  sums.correct += more.correct;
  sums.logps_chosen += more.logps_chosen;
  sums.logps_rejected += more.logps_rejected;
  sums.nll += more.nll;
}

void take_together(PreferenceLossSums& sums, transport::Collective& ranks) {
  const auto all =
      transport::sum_over(ranks, {static_cast<double>(sums.pairs), sums.rewards_chosen, sums.rewards_rejected,
                                  sums.correct, sums.logps_chosen, sums.logps_rejected, sums.nll});
  sums = {.pairs = static_cast<int64_t>(all[0]),
          .rewards_chosen = all[1],
          .rewards_rejected = all[2],
          .correct = all[3],
          .logps_chosen = all[4],
          .logps_rejected = all[5],
          .nll = all[6]};
}

void report(const PreferenceLossSums& sums, StepMetrics& metrics) {
  const auto pairs = static_cast<double>(sums.pairs);
  metrics["rewards/chosen"] = sums.rewards_chosen / pairs;
  metrics["rewards/rejected"] = sums.rewards_rejected / pairs;
  metrics["rewards/margins"] = (sums.rewards_chosen - sums.rewards_rejected) / pairs;
  metrics["rewards/accuracies"] = sums.correct / pairs;
  metrics["logps/chosen"] = sums.logps_chosen / pairs;
  metrics["logps/rejected"] = sums.logps_rejected / pairs;
}

}  // namespace

PreferenceLearner::PreferenceLearner(model::Network& network, optim::Optimizer& optimizer,
                                     ReferenceLogps reference, const PreferenceLearnerOptions& options)
    : network_(network),
      optimizer_(optimizer),
      reference_(std::move(reference)),
      options_(options),
      has_sft_(std::ranges::any_of(options.terms, is_sft)) {
  check_terms(options.terms);
  require(options.micro_batch_tokens > 0, "PreferenceLearner: micro-batches of ", options.micro_batch_tokens,
          " tokens");
  require(reference_ != nullptr || !needs_reference(options.terms),
          "PreferenceLearner: a term needs a reference and there is none");
  require(!options.wpo || !needs_whole_step(options.terms),
          "PreferenceLearner: wpo weighs pairs, which terms that sort take apart");
  require(!options.nll_over_prompt || has_sft_, "PreferenceLearner: nll_over_prompt without an NLL");
}

// [pairs, 2], and what Sft learns beside it where that is not what is compared.
at::Tensor PreferenceLearner::logps(const PreferencePack& pack, const at::Tensor& logprobs) const {
  const auto compared = example_logps(pack, logprobs, options_.ld_alpha);
  if (!has_sft_ || (options_.ld_alpha == 1.0 && !options_.nll_over_prompt)) return compared;
  auto learned = example_logps(pack, logprobs).narrow(1, 0, 1);
  if (options_.nll_over_prompt) learned = learned + prompt_logps(pack, logprobs).unsqueeze(1);
  return at::cat({compared, learned}, 1);
}

at::Tensor PreferenceLearner::pair_weights(const PreferencePack& pack,
                                           const model::BatchLogprobs& out) const {
  if (!options_.wpo) return {};
  const c10::NoGradGuard no_grad;
  const int64_t targets = pack.num_completion_targets();
  std::vector<at::Tensor> collision;
  for (const auto& rows : out.hidden.narrow(0, 0, targets).split(kLogitRows)) {
    collision.push_back(log_collision(network_.scaled_logits(rows, /*temperature=*/1.0)));
  }
  return wpo_weights(out.logprobs.narrow(0, 0, targets), at::cat(collision), pack.lengths)
      .view({-1, 2})
      .prod(1);
}

at::Tensor PreferenceLearner::reference_of(std::span<const PreferenceExample> pairs) const {
  return needs_reference(options_.terms) ? reference_(pairs) : at::Tensor();
}

// Of the pairs in their own order, whatever the packs and the ranks.
at::Tensor PreferenceLearner::all_logps(const std::vector<PreferencePack>& packs,
                                        transport::Collective& ranks) const {
  const bool learns_another = has_sft_ && (options_.ld_alpha != 1.0 || options_.nll_over_prompt);
  return of_all_packs(
      packs, learns_another ? 3 : 2, ranks,
      [&](const PreferencePack& pack) {
        return logps(pack, network_.logprobs(pack.batch, pack.targets, /*temperature=*/1.0).logprobs);
      },
      [&](int64_t fewer) { optimizer_.idle_forwards(fewer); });
}

StepMetrics PreferenceLearner::measure(std::span<const PreferenceExample> pairs) const {
  const auto packs =
      pack_preferences(pairs, options_.micro_batch_tokens, network_.device(), options_.nll_over_prompt);
  const auto step = denominators_of(pairs, options_.nll_over_prompt);
  StepMetrics metrics;
  transport::SoloCollective alone;
  report(whole_step(all_logps(packs, alone), reference_of(pairs), pairs, options_.terms, step).loss.sums,
         metrics);
  return metrics;
}

StepMetrics PreferenceLearner::step(std::span<const PreferenceExample> pairs) {
  require<DataError>(!pairs.empty(), "PreferenceLearner: a step without pairs");
  require<DataError>(pairs.front().completions.size() == 2, "PreferenceLearner: an example of ",
                     pairs.front().completions.size(), " completions is no pair");
  auto& ranks = optimizer_.collective();
  const auto packs = pack_preferences(pairs, options_.micro_batch_tokens, network_.device(),
                                      options_.nll_over_prompt, ranks.size());
  const auto step = denominators_of(pairs, options_.nll_over_prompt);
  const auto reference = reference_of(pairs);

  internal::PreferenceUpdate update(network_, optimizer_, options_.router_aux_loss, pairs, packs);
  PreferenceLossSums sums;
  const auto count = [&](const PreferenceLoss& loss) {
    update.add_loss(loss.loss.item<double>());
    add(loss.sums, sums);
  };
  at::Tensor gradient;  // of the log-probs of the step, where they had to be there at once
  if (needs_whole_step(options_.terms)) {
    const auto whole = whole_step(all_logps(packs, ranks), reference, pairs, options_.terms, step);
    if (ranks.rank() == 0) count(whole.loss);  // every rank has it
    gradient = whole.gradient;
  }
  for (const auto& pack : packs) {
    if (pack.rank != ranks.rank()) continue;
    const auto out = update.forward(pack);
    const auto own = logps(pack, out.logprobs);
    if (gradient.defined()) {
      const auto sent = gradient.index_select(0, at::tensor(pack.examples, at::kLong)).to(own.device());
      update.backward((own * sent).sum());
      continue;
    }
    auto inputs = inputs_of(own, reference, pack.lengths, pack.examples);
    inputs.pair_weights = pair_weights(pack, out);
    const auto loss = preference_loss(inputs, options_.terms, step);
    count(loss);
    update.backward(loss.loss);
  }

  auto metrics = update.finish();
  take_together(sums, ranks);
  report(sums, metrics);
  if (has_sft_) metrics["nll_loss"] = sums.nll / static_cast<double>(step.sft_tokens);
  for (const auto& pair : pairs) metrics["num_tokens"] += static_cast<double>(num_tokens(pair));
  return metrics;
}

}  // namespace sluice::learner
