// Tokens of several sequences end to end, and what belongs to each sequence as a whole.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace sluice::learner::internal {

class Segments {
 public:
  // Of sequences with so many tokens, on the device of `like` and in its type.
  Segments(const std::vector<int64_t>& lengths, const at::Tensor& like);

  int64_t num_tokens() const { return num_tokens_; }
  // [tokens] -> [sequences], and back; both pass gradients. The mean of nothing is 0.
  at::Tensor sum(const at::Tensor& tokens) const;
  at::Tensor mean(const at::Tensor& tokens) const;
  at::Tensor to_tokens(const at::Tensor& sequences) const;
  const at::Tensor& lengths() const { return lengths_; }  // [sequences], as numbers

 private:
  int64_t num_tokens_ = 0;
  at::Tensor sequence_of_token_;  // [tokens] int64
  at::Tensor lengths_;
};

}  // namespace sluice::learner::internal
