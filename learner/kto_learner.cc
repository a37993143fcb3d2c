#include "learner/kto_learner.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "learner/internal/preference_update.h"
#include "transport/collective.h"

namespace sluice::learner {
namespace {

void add(const KtoClassSums& more, KtoClassSums& sums) {
  sums.examples += more.examples;
  sums.rewards += more.rewards;
  sums.logps += more.logps;
}

void take_together(KtoClassSums& sums, transport::Collective& ranks) {
  const auto all = transport::sum_over(ranks, {static_cast<double>(sums.examples), sums.rewards, sums.logps});
  sums = {.examples = static_cast<int64_t>(all[0]), .rewards = all[1], .logps = all[2]};
}

void report(const KtoClassSums& sums, const std::string& name, StepMetrics& metrics) {
  if (sums.examples == 0) return;
  metrics["rewards/" + name] = sums.rewards / static_cast<double>(sums.examples);
  metrics["logps/" + name] = sums.logps / static_cast<double>(sums.examples);
}

// [examples] bool of a pack.
at::Tensor desirable_of(const PreferencePack& pack, std::span<const PreferenceExample> examples) {
  std::vector<int64_t> desirable;
  for (const int64_t i : pack.examples) desirable.push_back(examples[static_cast<size_t>(i)].desirable);
  return at::tensor(desirable, at::kLong).to(at::kBool);
}

}  // namespace

std::vector<PreferenceExample> mismatched(std::span<const PreferenceExample> examples, int64_t max_length) {
  std::vector<PreferenceExample> others;
  for (size_t i = 0; i < examples.size(); ++i) {
    const auto& before = examples[(i + examples.size() - 1) % examples.size()];
    auto& other = others.emplace_back(
        PreferenceExample{.prompt = examples[i].prompt, .completions = before.completions});
    for (auto& [tokens, mask] : other.completions) {
      const int64_t room = max_length - std::ssize(other.prompt);
      const int64_t least = std::ranges::find(mask, 1) - mask.begin() + 1;
      const auto kept = std::min(tokens.size(), static_cast<size_t>(std::max(room, least)));
      tokens.resize(kept);
      mask.resize(kept);
    }
  }
  return others;
}

KtoLearner::KtoLearner(model::Network& network, optim::Optimizer& optimizer, ReferenceLogps reference,
                       const KtoLearnerOptions& options)
    : network_(network), optimizer_(optimizer), reference_(std::move(reference)), options_(options) {
  require(reference_ != nullptr, "KtoLearner: there is no reference");
  require(options.micro_batch_tokens > 0, "KtoLearner: micro-batches of ", options.micro_batch_tokens,
          " tokens");
  require(options.max_length > 1, "KtoLearner: a max_length of ", options.max_length);
}

double KtoLearner::z0_of(std::span<const PreferenceExample> examples) const {
  if (!options_.has_z0) return 0.0;
  const auto others = mismatched(examples, options_.max_length);
  auto& ranks = optimizer_.collective();
  const auto packs = pack_preferences(others, options_.micro_batch_tokens, network_.device(),
                                      /*with_prompts=*/false, ranks.size());
  const auto policy = of_all_packs(
      packs, /*columns=*/1, ranks,
      [&](const PreferencePack& pack) {
        return example_logps(pack, network_.logprobs(pack.batch, pack.targets, /*temperature=*/1.0).logprobs);
      },
      [&](int64_t fewer) { optimizer_.idle_forwards(fewer); });
  return kto_z0(policy.select(1, 0), reference_(others).select(1, 0));
}

StepMetrics KtoLearner::step(std::span<const PreferenceExample> examples) {
  require<DataError>(!examples.empty(), "KtoLearner: a step without examples");
  require<DataError>(examples.front().completions.size() == 1, "KtoLearner: an example of ",
                     examples.front().completions.size(), " completions has one too many to be judged");
  auto& ranks = optimizer_.collective();
  const auto packs = pack_preferences(examples, options_.micro_batch_tokens, network_.device(),
                                      /*with_prompts=*/false, ranks.size());
  const auto reference = reference_(examples).select(1, 0);
  const double z0 = z0_of(examples);

  internal::PreferenceUpdate update(network_, optimizer_, options_.router_aux_loss, examples, packs);
  KtoClassSums desirable, undesirable;
  for (const auto& pack : packs) {
    if (pack.rank != ranks.rank()) continue;
    const auto logps = example_logps(pack, update.forward(pack).logprobs).select(1, 0);
    const KtoLossInputs inputs{
        .policy_logps = logps,
        .ref_logps = reference.index_select(0, at::tensor(pack.examples, at::kLong)).to(logps.device()),
        .desirable = desirable_of(pack, examples).to(logps.device())};
    const auto loss = kto_loss(inputs, z0, std::ssize(examples), options_.loss);
    update.add_loss(loss.loss.item<double>());
    add(loss.desirable, desirable);
    add(loss.undesirable, undesirable);
    update.backward(loss.loss);
  }

  auto metrics = update.finish();
  take_together(desirable, ranks);
  take_together(undesirable, ranks);
  report(desirable, "chosen", metrics);
  report(undesirable, "rejected", metrics);
  if (desirable.examples > 0 && undesirable.examples > 0) {
    metrics["rewards/margins"] = metrics["rewards/chosen"] - metrics["rewards/rejected"];
  }
  if (options_.has_z0) metrics["kl"] = z0;
  for (const auto& example : examples) metrics["num_tokens"] += static_cast<double>(num_tokens(example));
  return metrics;
}

}  // namespace sluice::learner
