#include "learner/internal/segments.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace sluice::learner::internal {

Segments::Segments(const std::vector<int64_t>& lengths, const at::Tensor& like) {
  std::vector<int64_t> sequences;
  for (size_t i = 0; i < lengths.size(); ++i) {
    require(lengths[i] >= 0, "learner: a sequence of ", lengths[i], " tokens");
    sequences.insert(sequences.end(), static_cast<size_t>(lengths[i]), static_cast<int64_t>(i));
  }
  num_tokens_ = std::ssize(sequences);
  sequence_of_token_ = at::tensor(sequences, at::kLong).to(like.device());
  lengths_ = at::tensor(lengths, at::kLong).to(like.device()).to(like.scalar_type());
}

at::Tensor Segments::sum(const at::Tensor& tokens) const {
  return at::zeros({lengths_.size(0)}, tokens.options().requires_grad(false))
      .index_add(0, sequence_of_token_, tokens);
}

at::Tensor Segments::mean(const at::Tensor& tokens) const { return sum(tokens) / lengths_.clamp_min(1); }

at::Tensor Segments::to_tokens(const at::Tensor& sequences) const {
  return sequences.index_select(0, sequence_of_token_);
}

}  // namespace sluice::learner::internal
