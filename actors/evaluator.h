// How good a policy is on held-out prompts: mean reward, greedy and sampled, with standard errors.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "actors/engine.h"
#include "actors/tool_use.h"
#include "rewards/reward_mix.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace sluice::actors {

struct EvaluationOptions {
  buffers::SamplingParams sampling;
  int64_t samples = 1;  // completions of each prompt
  uint64_t seed = 0;
  uint64_t first_group = 0;  // the number that the first row's draws go by; the others' follow
  EngineOptions engine;
  const rewards::Toolbox* tools = nullptr;  // that completions may call; null: none
  ToolUseOptions tool_use;
};

struct Estimate {
  double value = 0;
  double stderr_ = 0;  // of the mean over prompts
  int64_t n = 0;       // prompts with a score
};

// One prompt with its completions as scored, in the order of the rows.
struct EvaluatedPrompt {
  const text::Row* row = nullptr;
  std::vector<int32_t> prompt;
  std::vector<buffers::Completion> completions;
};

struct Evaluation {
  std::vector<EvaluatedPrompt> prompts;
  int64_t unscored = 0;  // completions without any score
  bool complete = true;  // false when `progress` stopped it
  // Mean over prompts of the mean over their scored completions of the weighted reward.
  Estimate reward(const std::vector<double>& weights) const;
};

// Scores come beside decoding, as a rollout actor's do. `progress` is told again and again how many prompts
// are done, and stops the evaluation by returning false, with what is under way.
Evaluation evaluate(const model::Network& network, const text::Tokenizer& tokenizer,
                    const rewards::RewardMix& rewards, const std::vector<text::Row>& rows,
                    std::set<int32_t> stop_ids, const EvaluationOptions& options,
                    const std::function<bool(int64_t)>& progress = {});

}  // namespace sluice::actors
