// Prompts and the completions behind them as rows of the network, and the tokens that these are asked about.
//
// A prompt stands once and its completions name it as prefix. What follows the last counted token's
// predecessor predicts nothing and is left out.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/packed_batch.h"

namespace sluice::learner::internal {

// The rows a completion takes: its tokens before the last one that counts, which is only predicted. 0 where
// none counts.
size_t num_input_rows(std::span<const uint8_t> mask);

class CompletionRows {
 public:
  // The completions added next are behind this prompt. It and they are said to grow to so many tokens.
  void add_prompt(std::span<const int32_t> tokens, int64_t grows_to);
  // Its counted tokens become targets, in order, each asked of the row before it.
  void add(std::span<const int32_t> tokens, std::span<const uint8_t> mask);
  // The same, and all of its tokens are rows, of which end_rows() has the last one.
  void add_whole(std::span<const int32_t> tokens, std::span<const uint8_t> mask);

  model::PackedBatch batch(const at::Device& device) const { return rows_.build(device); }
  model::TokenTargets targets(const at::Device& device) const;
  at::Tensor end_rows(const at::Device& device) const;              // [whole completions] int64, in order
  const std::vector<int64_t>& lengths() const { return lengths_; }  // counted tokens of each completion

 private:
  void add(std::span<const int32_t> tokens, std::span<const uint8_t> mask, size_t num_rows);

  model::PackedBatchBuilder rows_;
  int64_t prompt_ = 0, last_prompt_row_ = 0, grows_to_ = 0;
  std::vector<int64_t> target_rows_, target_tokens_, end_rows_, lengths_;
};

}  // namespace sluice::learner::internal
