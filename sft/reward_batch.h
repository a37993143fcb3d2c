// Pairs of compared completions, and how they become the network's input (spec section 10.1).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "model/packed_batch.h"

namespace sluice::sft {

struct ComparedPair {
  std::vector<int32_t> prompt;
  std::vector<int32_t> chosen, rejected;  // behind the prompt; each is scored at its last token
  double margin = 0.0;                    // by how much chosen is to be ahead

  int64_t num_tokens() const;  // of both sequences, the prompt counted in each
};

// Whole pairs, ready for the network: a prompt stands once and both completions name it as prefix.
struct RewardBatch {
  model::PackedBatch batch;
  at::Tensor chosen_rows, rejected_rows;  // [pairs] int64, where the scores are
  at::Tensor margins;                     // [pairs] float32
  int64_t rank = 0;                       // of the learner, which computes it
};

// Best fit decreasing at `max_tokens` rows a pack; a larger pair gets a pack of its own. Both sequences of a
// pair are said to grow to the longer one. Throws DataError for a prompt or a completion without a token. Of
// several ranks each gets about as many rows, and packs of its own.
std::vector<RewardBatch> pack_pairs(std::span<const ComparedPair> pairs, int64_t max_tokens,
                                    const at::Device& device, int64_t ranks = 1);

}  // namespace sluice::sft
