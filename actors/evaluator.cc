#include "actors/evaluator.h"

#include <cmath>
#include <utility>

#include "actors/completion_text.h"
#include "actors/internal/scoring_lane.h"
#include "base/error.h"
#include "base/pulse.h"

namespace sluice::actors {
namespace {

constexpr Millis kWaitMs =
    50;  // between two looks at `progress`, while tools or scores are all that is waited for

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

// All rows at once: the engine takes as many together as fit.
void submit(const std::vector<text::Row>& rows, const text::Tokenizer& tokenizer,
            const EvaluationOptions& options, Engine& engine, Evaluation& evaluation) {
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
}

void take_scores(Evaluation& evaluation, GroupScores& scores) {
  auto& completions = evaluation.prompts[scores.group].completions;
  for (size_t i = 0; i < completions.size(); ++i) {
    completions[i].outcomes = std::move(scores.outcomes[i]);
    evaluation.unscored += is_unscored(completions[i]) ? 1 : 0;
  }
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
  ScoringLane lane(rewards, {});
  engine.when_completion_ends(
      [&](const GenerationRequest& request, int64_t sample, buffers::Completion& completion) {
        completion.text = completion_text(completion, tokenizer, request.sampling.stop_strings);
        lane.add(request.id, sample, ended(completion));
      });
  submit(rows, tokenizer, options, engine, evaluation);
  for (size_t i = 0; i < rows.size(); ++i) lane.begin(i, rows[i], options.samples, /*greedy_too=*/false);

  int64_t done = 0;
  while (evaluation.complete && done < std::ssize(rows)) {
    if (tools) tools->pass_on(kWaitMs);
    const bool decodes = !engine.idle() && !engine.waits_for_calls();
    if (decodes) {
      for (auto& result : engine.step(/*version=*/0))
        evaluation.prompts[result.id].completions = std::move(result.completions);
      beat();
    } else if (engine.idle()) {
      lane.say_what_is_waited_for();
    }
    for (auto& scores : lane.take(engine.idle() ? kWaitMs : 0)) {
      take_scores(evaluation, scores);
      ++done;
    }
    if (progress && !progress(done)) evaluation.complete = false;
  }
  return evaluation;
}

}  // namespace sluice::actors
