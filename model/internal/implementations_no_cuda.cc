#include "base/error.h"
#include "model/internal/implementations.h"

namespace sluice::model::raw::cuda {
namespace {

constexpr const char* kNone = "model: built without CUDA, there are no kernels for a GPU";

}  // namespace

bool takes_attention(const at::Tensor&, const at::Tensor&, const AttentionOptions&) { return false; }

std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor&, const at::Tensor&, const at::Tensor&,
                                             const AttentionPlan&, const AttentionOptions&) {
  fail(kNone);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor&, const at::Tensor&,
                                                                  const at::Tensor&, const at::Tensor&,
                                                                  const at::Tensor&, const at::Tensor&,
                                                                  const AttentionPlan&,
                                                                  const AttentionOptions&) {
  fail(kNone);
}

bool takes_logits(const at::Tensor&) { return false; }

TokenLogprobParts token_logprobs(const at::Tensor&, const Weight&, const at::Tensor&, const LogitOptions&) {
  fail(kNone);
}

std::tuple<at::Tensor, at::Tensor> token_logprobs_backward(const TokenLogprobGrads&, const at::Tensor&,
                                                           const Weight&, const at::Tensor&,
                                                           const TokenLogprobSums&, const LogitOptions&, bool,
                                                           const at::Tensor&) {
  fail(kNone);
}

}  // namespace sluice::model::raw::cuda
