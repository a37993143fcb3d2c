// Examples with their loss masks, and how they become the network's input (spec section 11).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "model/packed_batch.h"

namespace sluice::sft {

// One tokenised example. The first token is never a target.
struct Example {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> loss_mask;  // [tokens] 1 where the token is a target
};

int64_t num_targets(const Example& example);

// Several examples end to end, each a sequence of its own.
struct SupervisedBatch {
  model::PackedBatch batch;
  model::TokenTargets targets;
};

// Best fit decreasing at `max_tokens` rows a pack; a longer example gets a pack of its own. What follows the
// last target's predecessor predicts nothing and is left out. Throws Error for an example without a target,
// with its first token as one, or with a mask of another length.
std::vector<SupervisedBatch> pack_examples(const std::vector<const Example*>& examples, int64_t max_tokens,
                                           const at::Device& device);

}  // namespace sluice::sft
