#include <algorithm>
#include <cmath>
#include <optional>

#include "base/error.h"
#include "learner/internal/statistics.h"
#include "learner/policy_learner.h"

namespace sluice::learner {
namespace {

constexpr double kZeroStd = 1e-8;

void report(const std::string& prefix, const std::string& suffix, const std::vector<double>& values,
            StepMetrics& metrics) {
  if (values.empty()) return;
  metrics[prefix + "mean" + suffix] = internal::mean_of(values);
  metrics[prefix + "min" + suffix] = std::ranges::min(values);
  metrics[prefix + "max" + suffix] = std::ranges::max(values);
}

void report_rewards(const TrainingBatch& batch, StepMetrics& metrics) {
  std::vector<double> all;
  int64_t without_spread = 0;
  for (const auto& group : batch.rewards) {
    std::vector<double> scored;
    for (const auto& reward : group) {
      if (reward) scored.push_back(*reward);
    }
    if (internal::std_of(scored) < kZeroStd) ++without_spread;
    all.insert(all.end(), scored.begin(), scored.end());
  }
  const auto num_groups = static_cast<double>(std::max<size_t>(1, batch.rewards.size()));
  metrics["frac_reward_zero_std"] = static_cast<double>(without_spread) / num_groups;
  if (all.empty()) return;
  metrics["reward"] = internal::mean_of(all);
  metrics["reward_std"] = internal::std_of(all);
  if (!batch.baselines.empty()) metrics["greedy_reward"] = internal::mean_of(batch.baselines);
}

void report_scorer(const TrainingBatch& batch, size_t scorer, const std::string& name, StepMetrics& metrics) {
  std::vector<double> scores;
  int64_t unscored = 0;
  for (const auto& group : batch.groups) {
    for (const auto& completion : group.completions) {
      require(scorer < completion.outcomes.size(), "rollout_metrics: there is no outcome of ", name);
      const auto& score = completion.outcomes[scorer].score;
      if (score) {
        scores.push_back(*score);
      } else {
        ++unscored;
      }
    }
  }
  metrics["rewards/" + name + "/unscored"] = static_cast<double>(unscored);
  const auto all = static_cast<double>(std::max<int64_t>(1, unscored + std::ssize(scores)));
  metrics["rewards/" + name + "/unscored_rate"] = static_cast<double>(unscored) / all;
  if (scores.empty()) return;
  metrics["rewards/" + name + "/mean"] = internal::mean_of(scores);
  metrics["rewards/" + name + "/std"] = internal::std_of(scores);
}

// Of sorted values, the smallest that `share` of them do not exceed.
double quantile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<size_t>(1, rank) - 1];
}

// What the actors noticed of it, group by group.
void report_watch(const TrainingBatch& batch, size_t scorer, const std::string& name, StepMetrics& metrics) {
  std::vector<double> seconds, errors;
  int64_t cached = 0;
  for (const auto& group : batch.groups) {
    if (scorer >= group.scorers.size()) continue;
    seconds.push_back(group.scorers[scorer].seconds);
    cached += group.scorers[scorer].cached;
    if (const auto error = group.scorers[scorer].canary_error) errors.push_back(*error);
  }
  if (cached > 0) metrics["rewards/" + name + "/cached"] = static_cast<double>(cached);
  if (!errors.empty()) metrics["rewards/" + name + "/canary_error"] = std::ranges::max(errors);
  if (seconds.empty()) return;
  std::ranges::sort(seconds);
  metrics["rewards/" + name + "/seconds_p50"] = quantile(seconds, 0.5);
  metrics["rewards/" + name + "/seconds_p95"] = quantile(seconds, 0.95);
}

void report_lengths(const TrainingBatch& batch, StepMetrics& metrics) {
  std::vector<double> lengths, terminated;
  size_t num_tokens = 0;
  for (const auto& group : batch.groups) {
    for (const auto& completion : group.completions) {
      const auto chosen =
          static_cast<double>(std::ranges::count_if(completion.mask, [](uint8_t mask) { return mask != 0; }));
      lengths.push_back(chosen);
      if (completion.finish != buffers::FinishReason::Length) terminated.push_back(chosen);
      num_tokens += group.prompt.size() + completion.tokens.size();
    }
  }
  metrics["num_tokens"] = static_cast<double>(num_tokens);
  report("completions/", "_length", lengths, metrics);
  report("completions/", "_terminated_length", terminated, metrics);
  if (terminated.empty()) metrics["completions/mean_terminated_length"] = 0.0;
  if (lengths.empty()) return;
  metrics["completions/clipped_ratio"] =
      static_cast<double>(lengths.size() - terminated.size()) / static_cast<double>(lengths.size());
}

// The share of a completion's runs of four tokens that stand in it before already.
double repetition_of(const std::vector<int32_t>& tokens) {
  constexpr std::ptrdiff_t kRun = 4;
  const auto runs = std::ssize(tokens) - kRun + 1;
  if (runs < 2) return 0.0;
  std::vector<const int32_t*> begins;
  for (std::ptrdiff_t i = 0; i < runs; ++i) begins.push_back(tokens.data() + i);
  std::ranges::sort(begins, [](const int32_t* a, const int32_t* b) {
    return std::lexicographical_compare(a, a + kRun, b, b + kRun);
  });
  const auto again = std::ranges::unique(
      begins, [](const int32_t* a, const int32_t* b) { return std::equal(a, a + kRun, b); });
  return static_cast<double>(again.size()) / static_cast<double>(runs);
}

void report_repetition(const TrainingBatch& batch, StepMetrics& metrics) {
  std::vector<double> shares;
  for (const auto& group : batch.groups) {
    for (const auto& completion : group.completions) shares.push_back(repetition_of(completion.tokens));
  }
  if (!shares.empty()) metrics["completions/repetition"] = internal::mean_of(shares);
}

// What came of calls, where there are tools.
void report_tools(const TrainingBatch& batch, StepMetrics& metrics) {
  std::optional<buffers::ToolWatch> sum;
  for (const auto& group : batch.groups) {
    if (!group.tools) continue;
    if (!sum) sum.emplace();
    sum->calls += group.tools->calls;
    sum->failed += group.tools->failed;
    sum->seconds += group.tools->seconds;
  }
  if (!sum) return;
  metrics["tools/calls"] = static_cast<double>(sum->calls);
  metrics["tools/failed"] = static_cast<double>(sum->failed);
  metrics["tools/time"] = sum->seconds;
}

// As the actors measured them.
void report_times(const TrainingBatch& batch, StepMetrics& metrics) {
  const auto count = static_cast<double>(batch.groups.size());
  if (batch.groups.empty()) return;
  double ttft = 0, tpot = 0;
  for (const auto& group : batch.groups) {
    ttft += group.ttft_s / count;
    tpot += group.tpot_s / count;
  }
  metrics["completions/ttft"] = ttft;
  metrics["completions/tpot"] = tpot;
}

}  // namespace

StepMetrics rollout_metrics(const TrainingBatch& batch, const std::vector<std::string>& reward_names) {
  StepMetrics metrics;
  report_rewards(batch, metrics);
  for (size_t i = 0; i < reward_names.size(); ++i) {
    report_scorer(batch, i, reward_names[i], metrics);
    report_watch(batch, i, reward_names[i], metrics);
  }
  report_lengths(batch, metrics);
  report_repetition(batch, metrics);
  report_tools(batch, metrics);
  report_times(batch, metrics);
  return metrics;
}

}  // namespace sluice::learner
