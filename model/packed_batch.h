// The network's input for every caller: token ids of many sequences end to end, without padding.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace sluice::model {

inline constexpr int64_t kNoPrefix = -1;

// Sequence s owns the rows starts[s] .. starts[s+1]. A token attends to itself and what came before it in its
// sequence, and, where prefix[s] names another sequence of the batch, to all of that one: a group's prompt
// stands once and its completions name it. A named sequence has no prefix itself and stands before those that
// name it. Positions of a sequence with a prefix go on where the prefix ended.
//
// Some rotary frequencies depend on how long a sequence is; so that what was computed early stays right, its
// length is fixed when it starts: what it may have in the end, prompt and new tokens together.
struct PackedBatch {
  at::Tensor tokens;                   // [rows] int64
  at::Tensor positions;                // [rows] int64
  std::vector<int64_t> starts;         // [sequences + 1]
  std::vector<int64_t> prefix;         // [sequences], kNoPrefix or the index of a sequence
  std::vector<int64_t> final_lengths;  // [sequences], or empty: the positions it has now

  int64_t num_rows() const { return starts.empty() ? 0 : starts.back(); }
  int64_t num_sequences() const { return static_cast<int64_t>(prefix.size()); }
};

// Collects sequences, then makes the tensors at once.
class PackedBatchBuilder {
 public:
  // Returns the index of the sequence. `first_position` is that of the first token where the sequence goes on
  // in a cache; a sequence with a prefix starts where the prefix ends and must leave it 0. `final_length` 0
  // means the positions it has now.
  int64_t add(std::span<const int32_t> tokens, int64_t prefix = kNoPrefix, int64_t first_position = 0,
              int64_t final_length = 0);
  int64_t num_rows() const { return static_cast<int64_t>(tokens_.size()); }
  int64_t row_of(int64_t sequence, int64_t offset) const;  // row of the token at `offset` of a sequence
  PackedBatch build(const at::Device& device) const;

 private:
  std::vector<int64_t> tokens_;
  std::vector<int64_t> positions_;
  std::vector<int64_t> starts_{0};
  std::vector<int64_t> prefix_;
  std::vector<int64_t> final_lengths_;
};

// Which rows predict which tokens: the rows where a log-prob is wanted (spec section 2.1).
struct TokenTargets {
  at::Tensor rows;    // [targets] int64, row of the hidden states
  at::Tensor tokens;  // [targets] int64, the token that row is asked about
};

}  // namespace sluice::model
