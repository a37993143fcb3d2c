// Attention by padding sequences to one shape and batching the products: for any device.
#include <ATen/ATen.h>

#include <limits>

#include "model/internal/implementations.h"

namespace sluice::model::raw::aten {
namespace {

// The shapes of one call: S sequences of Q queries and K keys, G key heads, R query heads for each of them.
struct Shape {
  int64_t S, Q, K, G, R;
};

Shape shape_of(const at::Tensor& q, const at::Tensor& k, const AttentionPlan::Padded& plan) {
  const int64_t groups = k.size(1);
  return {plan.query_index.size(0), plan.query_index.size(1), plan.key_index.size(1), groups,
          q.size(1) / groups};
}

// [rows, heads, width] -> [S * G, R * Q, width]
at::Tensor pad_queries(const at::Tensor& q, const Shape& n, const AttentionPlan::Padded& plan) {
  const auto rows = plan.even ? q : q.index_select(0, plan.query_index.flatten());
  return rows.reshape({n.S, n.Q, n.G, n.R, -1}).permute({0, 2, 3, 1, 4}).reshape({n.S * n.G, n.R * n.Q, -1});
}

// Gradients of padded queries must be zero, which gathering row 0 does not give.
at::Tensor pad_grad(const at::Tensor& grad, const Shape& n, const AttentionPlan::Padded& plan) {
  auto rows = grad;
  if (!plan.even) {
    rows = at::zeros({n.S * n.Q, grad.size(1), grad.size(2)}, grad.options());
    rows.index_copy_(0, plan.row_of_query, grad);
  }
  return rows.reshape({n.S, n.Q, n.G, n.R, -1}).permute({0, 2, 3, 1, 4}).reshape({n.S * n.G, n.R * n.Q, -1});
}

// [S * G, R * Q, width] -> [rows, heads, width]
at::Tensor unpad_queries(const at::Tensor& padded, const Shape& n, const AttentionPlan::Padded& plan) {
  const auto rows =
      padded.view({n.S, n.G, n.R, n.Q, -1}).permute({0, 3, 1, 2, 4}).reshape({n.S * n.Q, n.G * n.R, -1});
  return plan.even ? rows.contiguous() : rows.index_select(0, plan.row_of_query);
}

// [keys, kv_heads, width] -> [S * G, K, width]
at::Tensor pad_keys(const at::Tensor& k, const Shape& n, const AttentionPlan::Padded& plan) {
  return k.index_select(0, plan.key_index.flatten())
      .view({n.S, n.K, n.G, -1})
      .permute({0, 2, 1, 3})
      .reshape({n.S * n.G, n.K, -1});
}

// A key row that several sequences see gets the sum.
at::Tensor unpad_key_grads(const at::Tensor& padded, const Shape& n, const AttentionPlan::Padded& plan,
                           const at::Tensor& like) {
  const auto rows = padded.view({n.S, n.G, n.K, -1}).permute({0, 2, 1, 3}).reshape({n.S * n.K, n.G, -1});
  auto grad = at::zeros(like.sizes(), padded.options());
  return grad.index_add_(0, plan.key_index.flatten(), rows);
}

at::Tensor hidden_keys(const AttentionPlan::Padded& plan, const std::optional<int64_t>& window) {
  const auto query = plan.query_place.unsqueeze(2), key = plan.key_place.unsqueeze(1);
  auto hidden = key.gt(query);  // [S, Q, K]
  if (window) hidden.logical_or_(key.le(query - *window).logical_and_(query.lt(int64_t{1} << 60)));
  return hidden;
}

struct Probs {
  at::Tensor probs;  // [S * G, R * Q, K]
  at::Tensor tanh;   // of the scores over the cap; undefined without one
};

Probs softmax_of(const at::Tensor& q, const at::Tensor& k, const Shape& n, const AttentionPlan::Padded& plan,
                 const AttentionOptions& options) {
  Probs result;
  auto scores = at::bmm(q, k.transpose(1, 2)).mul_(options.scale);
  if (options.soft_cap) {
    result.tanh = scores.div_(*options.soft_cap).tanh_();
    scores = result.tanh * *options.soft_cap;
  }
  const auto hidden = hidden_keys(plan, options.window).view({n.S, 1, 1, n.Q, n.K});
  scores.view({n.S, n.G, n.R, n.Q, n.K}).masked_fill_(hidden, -std::numeric_limits<double>::infinity());
  result.probs = scores.softmax(2);
  return result;
}

}  // namespace

std::tuple<at::Tensor, at::Tensor> attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                             const AttentionPlan& whole_plan,
                                             const AttentionOptions& options) {
  const auto& plan = whole_plan.padded(q.device());
  const auto n = shape_of(q, k, plan);
  const auto [probs, tanh] = softmax_of(pad_queries(q, n, plan), pad_keys(k, n, plan), n, plan, options);
  return {unpad_queries(at::bmm(probs, pad_keys(v, n, plan)), n, plan), at::Tensor()};
}

std::tuple<at::Tensor, at::Tensor, at::Tensor> attention_backward(const at::Tensor& grad, const at::Tensor& q,
                                                                  const at::Tensor& k, const at::Tensor& v,
                                                                  const at::Tensor&, const at::Tensor&,
                                                                  const AttentionPlan& whole_plan,
                                                                  const AttentionOptions& options) {
  const auto& plan = whole_plan.padded(q.device());
  const auto n = shape_of(q, k, plan);
  const auto queries = pad_queries(q, n, plan), keys = pad_keys(k, n, plan);
  const auto grad_out = pad_grad(grad, n, plan);
  const auto [probs, tanh] = softmax_of(queries, keys, n, plan, options);

  const auto grad_values = at::bmm(probs.transpose(1, 2), grad_out);
  auto grad_scores = at::bmm(grad_out, pad_keys(v, n, plan).transpose(1, 2));
  grad_scores.sub_((grad_scores * probs).sum(2, /*keepdim=*/true)).mul_(probs).mul_(options.scale);
  if (tanh.defined()) grad_scores.mul_(1 - tanh * tanh);
  const auto grad_queries = at::bmm(grad_scores, keys);
  const auto grad_keys = at::bmm(grad_scores.transpose(1, 2), queries);
  return {unpad_queries(grad_queries, n, plan), unpad_key_grads(grad_keys, n, plan, k),
          unpad_key_grads(grad_values, n, plan, v)};
}

}  // namespace sluice::model::raw::aten
