// Preference examples for tests: random ones of every length, and the log-probs of one completion by itself.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "base/philox.h"
#include "learner/preference_batch.h"
#include "model/network.h"

namespace sluice::learner {

inline std::vector<int32_t> random_tokens(uint64_t seed, uint64_t stream, size_t count) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < count; ++i) {
    tokens.push_back(static_cast<int32_t>(3 + random_bits(seed, RandomUse::Data, stream, i) % 20));
  }
  return tokens;
}

inline JudgedCompletion completion_of(std::vector<int32_t> tokens) {
  const std::vector<uint8_t> mask(tokens.size(), 1);
  return {.tokens = std::move(tokens), .mask = mask};
}

// Prompts of 2 to 7 tokens, completions of 1 to 9. A part of one completion in three does not count.
inline std::vector<PreferenceExample> random_examples(uint64_t count, size_t completions, uint64_t seed) {
  std::vector<PreferenceExample> examples;
  for (uint64_t i = 0; i < count; ++i) {
    const auto draw = [&](uint64_t n) { return random_bits(seed, RandomUse::Shuffle, i, n); };
    auto& example = examples.emplace_back();
    example.prompt = random_tokens(seed, 3 * i, 2 + draw(0) % 6);
    for (size_t k = 0; k < completions; ++k) {
      auto completion = completion_of(random_tokens(seed, 3 * i + 1 + k, 1 + draw(1 + k) % 9));
      const size_t length = completion.tokens.size();
      if ((i + k) % 3 == 0 && length > 2) completion.mask[0] = completion.mask[length - 1] = 0;
      example.completions.push_back(std::move(completion));
    }
    example.desirable = i % 2 == 0;
    example.row = static_cast<int64_t>(i);
  }
  return examples;
}

// One completion behind its prompt without any packing, and its counted tokens as targets.
struct CompletionAlone {
  model::PackedBatch batch;
  model::TokenTargets targets;
};

inline CompletionAlone completion_alone(const PreferenceExample& example, size_t completion) {
  const auto& [tokens, mask] = example.completions[completion];
  auto all = example.prompt;
  all.insert(all.end(), tokens.begin(), tokens.end());
  model::PackedBatchBuilder rows;
  rows.add(all);
  std::vector<int64_t> row, target;
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (mask[i] == 0) continue;
    row.push_back(static_cast<int64_t>(example.prompt.size() + i) - 1);
    target.push_back(tokens[i]);
  }
  return {rows.build(at::kCPU), {at::tensor(row, at::kLong), at::tensor(target, at::kLong)}};
}

// The sum over one completion's counted tokens.
inline double logp_alone(const model::Network& network, const PreferenceExample& example, size_t completion) {
  const auto [batch, targets] = completion_alone(example, completion);
  return network.logprobs(batch, targets, 1.0).logprobs.sum(at::kDouble).item<double>();
}

}  // namespace sluice::learner
