#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "base/shared_work.h"
#include "model/internal/implementations.h"
#include "model/internal/share_rows.h"
#include "model/kernels/kernels.h"

namespace sluice::model::raw::cpu {
namespace {

using at::Tensor;
using model::cpu::kernels;

float* out(Tensor& x) { return x.mutable_data_ptr<float>(); }
const float* in(const Tensor& x) { return x.const_data_ptr<float>(); }
const int64_t* index(const Tensor& x) { return x.const_data_ptr<int64_t>(); }

// Heads and their numbers lie side by side; rows may be apart.
bool has_plain_heads(const Tensor& x) { return x.stride(2) == 1 && x.stride(1) == x.size(2); }

int64_t most_keys(const AttentionPlan& plan) {
  int64_t most = 0;
  for (const auto& sequence : plan.sequences) most = std::max(most, sequence.num_keys);
  return most;
}

// What is the same for all sequences.
model::cpu::AttentionRows common_rows(const Tensor& q, const Tensor& k, const AttentionOptions& options,
                                      int64_t most_keys) {
  return {.q_stride = q.stride(0),
          .q_head_stride = q.stride(1),
          .heads = q.size(1),
          .kv_heads = k.size(1),
          .end_kv_head = k.size(1),
          .scale = static_cast<float>(options.scale),
          .soft_cap = static_cast<float>(options.soft_cap.value_or(0.0)),
          .window = options.window.value_or(most_keys)};
}

void set_sequence(model::cpu::AttentionRows& rows, const AttentionPlan::Sequence& sequence, const Tensor& q,
                  float* result, float* lse) {
  rows.q = in(q) + sequence.first_query * rows.q_stride;
  rows.num_queries = sequence.num_queries;
  rows.first_place = sequence.first_place;
  rows.out = result + sequence.first_query * rows.out_stride;
  rows.lse = lse + sequence.first_query * rows.heads;
}

// Puts the keys and values of a sequence into pages, from the first one on.
void put_in_pages(const AttentionPlan& plan, const AttentionPlan::Sequence& sequence, const Tensor& k,
                  const Tensor& v, const model::cpu::Pages& pages) {
  model::cpu::PageWrite write{.k_stride = k.stride(0),
                              .v_stride = v.stride(0),
                              .k_head_stride = k.stride(1),
                              .v_head_stride = v.stride(1),
                              .end_kv_head = k.size(1)};
  for (int64_t run = sequence.first_run; run < sequence.first_run + sequence.num_runs; ++run) {
    const auto& [first_row, count] = plan.runs[static_cast<size_t>(run)];
    write.k = in(k) + first_row * write.k_stride;
    write.v = in(v) + first_row * write.v_stride;
    write.rows = count;
    kernels().store_pages(write, pages);
    write.first_place += count;
  }
}

// Where the groups of sequences begin that share keys with no other, and the number of all: what threads may
// compute apart, since gradients of shared keys are added up. Keys are rows of the batch, of which those of a
// prefix stand first.
std::vector<size_t> key_groups(const AttentionPlan& plan) {
  std::vector<size_t> groups;
  for (size_t s = 0; s < plan.sequences.size(); ++s) {
    const auto& sequence = plan.sequences[s];
    const int64_t first_key = plan.runs[static_cast<size_t>(sequence.first_run)].first_row;
    groups.push_back(s);
    while (plan.sequences[groups.back()].first_query > first_key) groups.pop_back();
  }
  groups.push_back(plan.sequences.size());
  return groups;
}

// Memory for the gradients, zeros for those that are added to: where heads are equally wide, views of one
// buffer as split_heads() cuts its input.
std::tuple<Tensor, Tensor, Tensor> grads_like(const Tensor& q, const Tensor& k, const Tensor& v) {
  if (v.size(2) != q.size(2)) {
    return {at::empty(q.sizes(), q.options()), at::zeros(k.sizes(), q.options()),
            at::zeros(v.sizes(), q.options())};
  }
  const int64_t heads = q.size(1), kv_heads = k.size(1);
  auto all = at::empty({q.size(0), heads + 2 * kv_heads, q.size(2)}, q.options());
  const int64_t before = heads * q.size(2), added_to = 2 * kv_heads * q.size(2);
  auto* const numbers = out(all);
  share_rows(q.size(0), added_to, [&](int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row)
      std::fill_n(numbers + row * (before + added_to) + before, added_to, 0.0f);
  });
  return {all.narrow(1, 0, heads), all.narrow(1, heads, kv_heads), all.narrow(1, heads + kv_heads, kv_heads)};
}

}  // namespace

Tensor embedding_backward(const Tensor& grad, const Tensor& tokens, int64_t vocab, const Tensor& sum) {
  auto result = sum.defined() ? sum : at::zeros({vocab, grad.size(1)}, grad.options());
  kernels().add_rows(in(grad.contiguous()), index(tokens.contiguous()), grad.size(0), grad.size(1),
                     out(result));
  return result;
}

void put_rows(const Tensor& table, const Tensor& index_of_row, const Tensor& x) {
  const auto rows = has_plain_heads(x) ? x : x.contiguous();
  const int64_t width = x.size(1) * x.size(2);
  const int64_t* to = index(index_of_row);
  for (int64_t row = 0; row < x.size(0); ++row) {
    std::copy_n(in(rows) + row * rows.stride(0), width, table.mutable_data_ptr<float>() + to[row] * width);
  }
}

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, const Tensor& weight, double eps) {
  const auto rows = x.contiguous();
  auto result = at::empty_like(rows), inverse_rms = at::empty({x.size(0)}, x.options());
  const int64_t width = x.size(1);
  share_rows(x.size(0), width, [&](int64_t first, int64_t count) {
    kernels().rms_norm(in(rows) + first * width, in(weight), static_cast<float>(eps), count, width,
                       out(result) + first * width, out(inverse_rms) + first);
  });
  return {result, inverse_rms};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x, const Tensor& weight,
                                             const Tensor& inverse_rms) {
  constexpr int64_t kBlock = 64;  // rows added up apart, as the kernel does, so that threads change no bit
  const auto rows = x.contiguous(), grad_rows = grad.contiguous();
  const int64_t width = x.size(1), blocks = (x.size(0) + kBlock - 1) / kBlock;
  auto grad_x = at::empty_like(rows), grad_weight = at::zeros({width}, x.options());
  auto of_blocks = at::zeros({blocks, width}, x.options());
  share_rows(blocks, kBlock * width, [&](int64_t first, int64_t count) {
    auto scratch = at::empty({width}, x.options());
    for (int64_t block = first; block < first + count; ++block) {
      const int64_t row = block * kBlock, at = row * width;
      kernels().rms_norm_backward(in(grad_rows) + at, in(rows) + at, in(weight), in(inverse_rms) + row,
                                  std::min(kBlock, x.size(0) - row), width, out(grad_x) + at,
                                  out(of_blocks) + block * width, out(scratch));
    }
  });
  for (int64_t block = 0; block < blocks; ++block) {
    for (int64_t i = 0; i < width; ++i) out(grad_weight)[i] += in(of_blocks)[block * width + i];
  }
  return {grad_x, grad_weight};
}

bool takes_gated(const Tensor& gate_up, Activation activation) {
  return has_kernels(gate_up) && activation != Activation::Gelu;
}

Tensor gated(const Tensor& gate_up, Activation activation) {
  const int64_t width = gate_up.size(1) / 2;
  auto result = at::empty({gate_up.size(0), width}, gate_up.options());
  const auto rows = gate_up.contiguous();
  const auto kernel = activation == Activation::Silu ? kernels().swiglu : kernels().gelu_gated;
  share_rows(rows.size(0), width, [&](int64_t first, int64_t count) {
    kernel(in(rows) + first * 2 * width, count, width, out(result) + first * width);
  });
  return result;
}

Tensor gated_backward(const Tensor& grad, const Tensor& gate_up, Activation activation) {
  const auto rows = gate_up.contiguous(), grad_rows = grad.contiguous();
  auto result = at::empty_like(rows);
  const int64_t width = rows.size(1) / 2;
  const auto kernel =
      activation == Activation::Silu ? kernels().swiglu_backward : kernels().gelu_gated_backward;
  share_rows(rows.size(0), width, [&](int64_t first, int64_t count) {
    kernel(in(grad_rows) + first * width, in(rows) + first * 2 * width, count, width,
           out(result) + first * 2 * width);
  });
  return result;
}

Tensor rope(const Tensor& x, const Tensor& cos, const Tensor& sin, const Tensor& positions, int64_t heads,
            bool backward) {
  const auto rows = has_plain_heads(x) ? x : x.contiguous();
  const auto places = positions.contiguous();
  auto result = at::empty(x.sizes(), x.options());
  const int64_t width = x.size(1) * x.size(2);
  share_rows(x.size(0), width, [&](int64_t first, int64_t count) {
    kernels().rope(in(rows) + first * rows.stride(0), rows.stride(0), in(cos), in(sin), index(places) + first,
                   count, heads, x.size(1), x.size(2), cos.size(1), backward ? -1.0f : 1.0f,
                   out(result) + first * width);
  });
  return result;
}

bool takes_attention(const Tensor& q, const Tensor& k, const Tensor& v) {
  const auto takes = [](const Tensor& x) {
    return has_kernels(x) && x.size(2) % model::cpu::kHeadDimStep == 0 && x.stride(2) == 1;
  };
  return takes(q) && takes(k) && takes(v);
}

std::tuple<Tensor, Tensor> attention(const Tensor& q, const Tensor& k, const Tensor& v,
                                     const AttentionPlan& plan, const AttentionOptions& options) {
  constexpr int64_t kPage = model::cpu::kPageTokens;
  auto result = at::empty({q.size(0), q.size(1), v.size(2)}, q.options());
  auto lse = at::empty({q.size(0), q.size(1)}, q.options());
  const int64_t keys = most_keys(plan);
  auto rows_of_all = common_rows(q, k, options, keys);
  rows_of_all.out_stride = q.size(1) * v.size(2);
  const int64_t page_size = k.size(1) * kPage * (q.size(2) + v.size(2));
  float *const to = out(result), *const lse_to = out(lse);
  share_work(std::ssize(plan.sequences), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    // Tensors begin where lines of the cache do, as vectors do.
    auto pool = at::empty({(keys + kPage - 1) / kPage * page_size}, q.options());
    auto scratch = at::empty({model::cpu::attention_scratch(keys)}, q.options());
    const model::cpu::Pages pages{
        .pool = out(pool), .page_size = page_size, .head_dim = q.size(2), .value_dim = v.size(2)};
    auto rows = rows_of_all;
    rows.scratch = out(scratch);
    for (int64_t s = begin; s < end; ++s) {
      const auto& sequence = plan.sequences[static_cast<size_t>(s)];
      put_in_pages(plan, sequence, k, v, pages);
      set_sequence(rows, sequence, q, to, lse_to);
      kernels().attention(rows, pages);
    }
  });
  return {result, lse};
}

std::tuple<Tensor, Tensor, Tensor> attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k,
                                                      const Tensor& v, const Tensor& result,
                                                      const Tensor& lse, const AttentionPlan& plan,
                                                      const AttentionOptions& options) {
  const auto grad_out = grad.contiguous();
  auto [grad_q, grad_k, grad_v] = grads_like(q, k, v);
  const int64_t keys = most_keys(plan);
  model::cpu::AttentionBackward call_of_all{.rows = common_rows(q, k, options, keys),
                                            .k = in(k),
                                            .v = in(v),
                                            .k_stride = k.stride(0),
                                            .v_stride = v.stride(0),
                                            .k_head_stride = k.stride(1),
                                            .v_head_stride = v.stride(1),
                                            .head_dim = q.size(2),
                                            .value_dim = v.size(2)};
  call_of_all.rows.out_stride = q.size(1) * v.size(2);
  model::cpu::AttentionGrads grads_of_all{.k = out(grad_k),
                                          .v = out(grad_v),
                                          .q_stride = grad_q.stride(0),
                                          .k_stride = grad_k.stride(0),
                                          .v_stride = grad_v.stride(0)};
  float* const to_q = out(grad_q);
  const int64_t scratch_size = model::cpu::backward_scratch(keys, q.size(2), v.size(2));
  const auto groups = key_groups(plan);
  const int64_t num_groups = std::ssize(groups) - 1;
  share_work(num_groups * k.size(1), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    auto scratch = at::empty({scratch_size}, q.options());
    auto call = call_of_all;
    auto grads = grads_of_all;
    call.rows.scratch = out(scratch);
    for (int64_t task = begin; task < end; ++task) {
      call.rows.first_kv_head = task / num_groups;
      call.rows.end_kv_head = call.rows.first_kv_head + 1;
      const auto group = static_cast<size_t>(task % num_groups);
      for (size_t s = groups[group]; s < groups[group + 1]; ++s) {
        const auto& sequence = plan.sequences[s];
        // The kernel only reads these two backward.
        set_sequence(call.rows, sequence, q, const_cast<float*>(in(result)), const_cast<float*>(in(lse)));
        call.num_keys = sequence.num_keys;
        call.runs = plan.runs.data() + sequence.first_run;
        call.num_runs = sequence.num_runs;
        grads.out = in(grad_out) + sequence.first_query * call.rows.out_stride;
        grads.q = to_q + sequence.first_query * grads.q_stride;
        kernels().attention_backward(call, grads);
      }
    }
  });
  return {grad_q, grad_k, grad_v};
}

}  // namespace sluice::model::raw::cpu
