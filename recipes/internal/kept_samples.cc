#include "recipes/internal/kept_samples.h"

#include <algorithm>
#include <set>

namespace sluice::recipes::internal {
namespace {

// Different texts, in the order of `comes_first`, else of sampling.
template <class ComesFirst>
std::vector<ScoredText> distinct(std::vector<ScoredText> samples, ComesFirst comes_first) {
  std::ranges::stable_sort(samples, comes_first, [](const ScoredText& sample) { return *sample.reward; });
  std::set<std::string> seen;
  std::erase_if(samples, [&](const ScoredText& sample) { return !seen.insert(sample.text).second; });
  return samples;
}

Json base_of(const text::Row& row, double pass_rate) {
  Json base = row.columns;
  base["prompt"] = row.prompt;
  base["pass_rate"] = pass_rate;
  return base;
}

}  // namespace

std::vector<Json> kept_rows(const text::Row& row, std::span<const ScoredText> samples,
                            const SamplesSpec& spec, SampleCounts& counts) {
  std::vector<ScoredText> right, wrong;
  int64_t num_right = 0, num_scored = 0;
  for (const auto& sample : samples) {
    if (!sample.reward) continue;
    const bool is_right = *sample.reward >= spec.min_reward;
    ++num_scored;
    num_right += is_right ? 1 : 0;
    if (!sample.text.empty()) (is_right ? right : wrong).push_back(sample);
  }
  ++counts.prompts;
  counts.sampled += std::ssize(samples);
  counts.unscored += std::ssize(samples) - num_scored;
  counts.right += num_right;
  const auto with_text = std::ssize(right);
  right = distinct(std::move(right), std::ranges::greater());
  wrong = distinct(std::move(wrong), std::ranges::less());
  counts.duplicates += with_text - std::ssize(right);
  if (right.empty() || (spec.pairs && wrong.empty())) return {};

  const size_t there = spec.pairs ? std::max(right.size(), wrong.size()) : right.size();
  const Json base = base_of(row, static_cast<double>(num_right) / static_cast<double>(num_scored));
  std::vector<Json> rows;
  for (size_t i = 0; i < std::min(there, static_cast<size_t>(spec.per_prompt)); ++i) {
    Json kept = base;
    const auto& good = right[i % right.size()];
    if (spec.pairs) {
      kept["chosen"] = good.text;
      kept["rejected"] = wrong[i % wrong.size()].text;
    } else {
      kept["completion"] = good.text;
      kept["reward"] = *good.reward;
    }
    rows.push_back(std::move(kept));
  }
  counts.kept += std::ssize(rows);
  ++counts.kept_prompts;
  return rows;
}

}  // namespace sluice::recipes::internal
