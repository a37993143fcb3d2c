#include "learner/completion_logps.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "learner/internal/segments.h"

namespace sluice::learner {
namespace {

void check_tokens(const at::Tensor& tensor, const char* name, int64_t num_tokens) {
  require(tensor.dim() == 1 && tensor.numel() == num_tokens, "completion_logps: ", name, " is ",
          tensor.sizes(), ", the completions have ", num_tokens, " tokens");
}

internal::Segments segments_of(const at::Tensor& logprobs, const std::vector<int64_t>& lengths) {
  for (size_t i = 0; i < lengths.size(); ++i) {
    require(lengths[i] > 0, "completion_logps: completion ", i, " has ", lengths[i], " tokens");
  }
  internal::Segments segments(lengths, logprobs);
  check_tokens(logprobs, "logprobs", segments.num_tokens());
  return segments;
}

}  // namespace

at::Tensor completion_logps(const at::Tensor& logprobs, const std::vector<int64_t>& lengths,
                            const at::Tensor& weights) {
  const auto values = logprobs.to(at::kDouble);
  const auto segments = segments_of(values, lengths);
  if (!weights.defined()) return segments.sum(values);
  check_tokens(weights, "weights", segments.num_tokens());
  return segments.sum(values * weights.detach().to(values.options().requires_grad(false)));
}

at::Tensor ld_weights(const std::vector<int64_t>& lengths, const std::vector<int64_t>& others,
                      double ld_alpha) {
  require(lengths.size() == others.size(), "ld_weights: ", lengths.size(), " completions and ", others.size(),
          " others");
  require(ld_alpha >= 0.0 && ld_alpha <= 1.0, "ld_weights: ld_alpha is ", ld_alpha, ", it is from 0 to 1");
  std::vector<double> weights;
  for (size_t i = 0; i < lengths.size(); ++i) {
    const int64_t common = std::min(lengths[i], others[i]);
    weights.insert(weights.end(), static_cast<size_t>(common), 1.0);
    weights.insert(weights.end(), static_cast<size_t>(lengths[i] - common), ld_alpha);
  }
  return at::tensor(weights, at::kDouble);
}

at::Tensor log_collision(const at::Tensor& logits) {
  require(logits.dim() == 2, "log_collision: logits is ", logits.sizes(), ", it is [tokens, vocab]");
  return (2.0 * logits.log_softmax(-1)).logsumexp(-1);
}

at::Tensor wpo_weights(const at::Tensor& logprobs, const at::Tensor& collision,
                       const std::vector<int64_t>& lengths) {
  const auto values = logprobs.detach().to(at::kDouble);
  const auto segments = segments_of(values, lengths);
  check_tokens(collision, "collision", segments.num_tokens());
  return segments.mean(values - collision.detach()).exp();
}

}  // namespace sluice::learner
