#include "actors/evaluator.h"

#include <cmath>
#include <utility>

#include "actors/group_scorer.h"
#include "base/error.h"

namespace sluice::actors {
namespace {

constexpr Millis kToolMs = 1'000;  // at once, while tools are all that is waited for

// Mean of the total rewards of the completions that have one.
std::optional<double> mean_reward(const std::vector<buffers::Completion>& completions,
                                  const std::vector<double>& weights) {
  double sum = 0;
  int64_t count = 0;
  for (const auto& completion : completions) {
    const auto total = rewards::total_reward(completion.outcomes, weights);
    if (!total) continue;
    sum += *total;
    ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / static_cast<double>(count);
}

bool is_unscored(const buffers::Completion& completion) {
  for (const auto& outcome : completion.outcomes) {
    if (outcome.score) return false;
  }
  return true;
}

}  // namespace

Estimate Evaluation::reward(const std::vector<double>& weights) const {
  std::vector<double> means;
  for (const auto& prompt : prompts) {
    if (const auto mean = mean_reward(prompt.completions, weights)) means.push_back(*mean);
  }
  Estimate estimate{.n = std::ssize(means)};
  if (means.empty()) return estimate;
  const auto n = static_cast<double>(means.size());
  for (const double mean : means) estimate.value += mean / n;
  if (means.size() < 2) return estimate;
  double squares = 0;
  for (const double mean : means) squares += (mean - estimate.value) * (mean - estimate.value);
  estimate.stderr_ = std::sqrt(squares / (n - 1) / n);
  return estimate;
}

Evaluation evaluate(const model::Network& network, const text::Tokenizer& tokenizer,
                    const rewards::RewardMix& rewards, const std::vector<text::Row>& rows,
                    std::set<int32_t> stop_ids, const EvaluationOptions& options,
                    const std::function<bool(int64_t)>& progress) {
  Evaluation evaluation;
  Engine engine(network, std::move(stop_ids), options.engine, &tokenizer);
  std::optional<ToolUse> tools;
  if (options.tools != nullptr) tools.emplace(engine, tokenizer, *options.tools, options.tool_use);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& row = rows[i];
    evaluation.prompts.push_back({.row = &row, .prompt = tokenizer.encode(row.prompt)});
    try {
      engine.submit({.id = i,
                     .prompt = evaluation.prompts.back().prompt,
                     .num_samples = options.samples,
                     .seed = options.seed,
                     .group = options.first_group + i,
                     .sampling = options.sampling});
    } catch (const Error& error) {
      throw Error("evaluation of " + row.where() + ": " + error.what(), error.code());
    }
  }
  int64_t done = 0;
  while (evaluation.complete && !engine.idle()) {
    if (tools) tools->pass_on(kToolMs);
    for (auto& result : engine.step(/*version=*/0)) {
      auto& prompt = evaluation.prompts[result.id];
      prompt.completions = std::move(result.completions);
      score_completions(prompt.completions, *prompt.row, result.id, tokenizer, rewards,
                        options.sampling.stop_strings);
      for (const auto& completion : prompt.completions)
        evaluation.unscored += is_unscored(completion) ? 1 : 0;
      if (progress && !progress(++done)) evaluation.complete = false;
    }
  }
  return evaluation;
}

}  // namespace sluice::actors
