// Examples with what their tokens count, and how they become the network's input (spec section 11).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/packed_batch.h"

namespace sluice::sft {

// One tokenised example. The first token is never a target.
struct Example {
  std::vector<int32_t> tokens;
  std::vector<float> weights;  // [tokens] of each in the loss: 0 where it is no target, else mostly 1
};

int64_t num_targets(const Example& example);
double total_weight(const Example& example);

// Several examples end to end, each a sequence of its own.
struct SupervisedBatch {
  model::PackedBatch batch;
  model::TokenTargets targets;
  at::Tensor weights;             // [targets] float32
  std::vector<int64_t> examples;  // whose sequences these are, in order
  int64_t rank = 0;               // of the learner, which computes it
};

// Best fit decreasing at `max_tokens` rows a pack; a longer example gets a pack of its own. What follows the
// last target's predecessor predicts nothing and is left out. Throws Error for an example without a target,
// with its first token as one, with a weight for each of another number of tokens, or one that is negative.
// Of several ranks each gets about as many rows, and packs of its own.
std::vector<SupervisedBatch> pack_examples(std::span<const Example> examples, int64_t max_tokens,
                                           const at::Device& device, int64_t ranks = 1);

}  // namespace sluice::sft
