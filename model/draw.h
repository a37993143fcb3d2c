// From the logits of one row to a token: temperature, min-p, top-k, top-p and the draw (spec section 18),
// without a sort of the vocabulary.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace sluice::model {

// In the order in which they are applied.
struct DrawOptions {
  double temperature = 1.0;  // below 1e-5: greedy, at temperature 1
  double min_p = 0.0;        // keeps what has this share of the likeliest token's probability; 0: off
  int64_t top_k = 0;         // keeps the k likeliest and what ties with the k-th; 0: off
  double top_p = 1.0;        // keeps the likeliest that reach this share of what is left; 1: off
};

struct Draw {
  int32_t token = 0;
  float logprob = 0;    // under the full softmax after temperature
  float kept_mass = 1;  // of that softmax, that the filters kept
};

// Buffers of one thread, which grow to the size of the vocabulary once.
struct DrawScratch {
  std::vector<float> blocks, logits, masses, order;
  std::vector<int32_t> ids, members;
};

// Draws by inverse CDF in the order of ids, `uniform` in [0, 1); greedy takes the lowest id among equals. A
// logit of -inf is a token that is never drawn. Log-probs have the bits of token_logprobs() for the same
// logits. The logits are overwritten. Nothing is returned where one is NaN or infinite, or all are -inf.
std::optional<Draw> draw_token(std::span<float> logits, double uniform, const DrawOptions& options,
                               DrawScratch& scratch);

}  // namespace sluice::model
