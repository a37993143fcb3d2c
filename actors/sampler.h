// From the logits of one row to a token (spec section 18): biases, penalties, then a draw by a counter-based
// number.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "buffers/rollout_group.h"
#include "model/draw.h"

namespace sluice::actors {

// Names the draw: the number used is random_uniform(seed, Sampling, group, sample, position).
struct DrawKey {
  uint64_t seed = 0;
  uint64_t group = 0;
  int64_t sample = 0;
  int64_t position = 0;  // of the token in its completion
};

// What stands before the token; read where a penalty is on alone.
struct SeenTokens {
  std::span<const int32_t> prompt, output;
};

// Its log-prob is under the full softmax after penalties and temperature, of which the filters kept
// `kept_mass`.
using SampledToken = model::Draw;

// Buffers of one thread, which grow to the size of the vocabulary once.
struct SamplerScratch {
  model::DrawScratch draw;
  std::vector<int32_t> counts;  // [vocab], zeros between calls
};

// The logits are the network's, before temperature, and are overwritten. Logits that are NaN or infinite are
// an Error naming the draw. Temperature below 1e-5 is greedy: the lowest index among equals.
SampledToken sample_token(std::span<float> logits, const DrawKey& key, const buffers::SamplingParams& params,
                          const SeenTokens& seen, SamplerScratch& scratch);

}  // namespace sluice::actors
