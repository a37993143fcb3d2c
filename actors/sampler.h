// From logits to a token (spec section 18): temperature, top-k, top-p, one counter-based draw.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "buffers/rollout_group.h"
#include "model/operators.h"

namespace sluice::actors {

// Names the draw: the number used is random_uniform(seed, Sampling, group, sample, position).
struct DrawKey {
  uint64_t seed = 0;
  uint64_t group = 0;
  int64_t sample = 0;
  int64_t position = 0;  // of the token in its completion
};

struct SampledToken {
  int32_t token = 0;
  float logprob = 0;    // under the full softmax after temperature; greedy: at temperature 1
  float kept_mass = 1;  // of that softmax, that top-k and top-p kept
};

// hidden [rows, hidden], head [vocab, hidden], one key for each row. A logit that is NaN is an Error naming
// the row. Temperature below 1e-5 is greedy: the lowest index among equals.
std::vector<SampledToken> sample_tokens(const at::Tensor& hidden, const model::Weight& head,
                                        std::span<const DrawKey> keys, const buffers::SamplingParams& params,
                                        std::optional<double> logit_soft_cap = std::nullopt);

}  // namespace sluice::actors
