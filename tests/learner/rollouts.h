// Rollout groups for the learner's tests, made from a seed.
#pragma once

#include <optional>
#include <vector>

#include "base/philox.h"
#include "buffers/rollout_group.h"

namespace sluice::learner {

inline buffers::Completion completion_of(const std::vector<int32_t>& tokens, std::optional<double> reward,
                                         int64_t version = 0) {
  buffers::Completion completion;
  completion.tokens = tokens;
  completion.mask.assign(tokens.size(), 1);
  completion.logprobs.assign(tokens.size(), -1.0f);
  completion.kept_mass.assign(tokens.size(), 1.0f);
  completion.versions.assign(tokens.size(), version);
  completion.finish = buffers::FinishReason::Stop;
  completion.outcomes = {reward ? rewards::RewardOutcome::scored(*reward)
                                : rewards::RewardOutcome::unscored("test")};
  return completion;
}

inline buffers::RolloutGroup group_of(const std::vector<int32_t>& prompt,
                                      std::vector<buffers::Completion> completions, uint64_t ordinal = 0) {
  buffers::RolloutGroup group;
  group.group = ordinal;
  group.prompt = prompt;
  group.completions = std::move(completions);
  return group;
}

// `count` groups of 4 completions of 1 to 12 tokens, rewards in [0, 1), log-probs in (-4, 0], a few tokens
// that the policy did not choose.
inline std::vector<buffers::RolloutGroup> random_groups(int count, uint64_t seed, int32_t vocab_size = 23) {
  uint64_t draws = 0;
  const auto uniform = [&] { return random_uniform(seed, RandomUse::Data, 1, 0, draws++); };
  const auto up_to = [&](int n) { return static_cast<int32_t>(uniform() * n); };
  const auto tokens = [&](int length) {
    std::vector<int32_t> out;
    for (int i = 0; i < length; ++i) out.push_back(up_to(vocab_size));
    return out;
  };
  std::vector<buffers::RolloutGroup> groups;
  for (int g = 0; g < count; ++g) {
    std::vector<buffers::Completion> completions;
    for (int i = 0; i < 4; ++i) {
      auto completion = completion_of(tokens(1 + up_to(12)), uniform());
      for (auto& logprob : completion.logprobs) logprob = static_cast<float>(-4.0 * uniform());
      for (size_t t = 1; t < completion.mask.size(); ++t) completion.mask[t] = uniform() < 0.85 ? 1 : 0;
      completions.push_back(std::move(completion));
    }
    groups.push_back(group_of(tokens(2 + up_to(6)), std::move(completions), static_cast<uint64_t>(g)));
  }
  return groups;
}

}  // namespace sluice::learner
