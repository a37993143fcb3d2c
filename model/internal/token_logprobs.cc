#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>

#include "model/internal/raw_operators.h"
#include "model/internal/share_rows.h"
#include "model/kernels/kernels.h"

namespace sluice::model {
namespace {

// Logits of one chunk at most: 8 MB, so that they stay in the cache where the vocabulary is small.
constexpr int64_t kChunkNumbers = int64_t{1} << 21;

template <class F>
void for_each_chunk(int64_t rows, int64_t vocab, F f) {
  const int64_t step = raw::logit_chunk_rows(vocab);
  for (int64_t first = 0; first < rows; first += step) f(first, std::min(step, rows - first));
}

// Log-sum-exp of each row, the mean of the row under its softmax, and its largest logit.
struct RowSums {
  at::Tensor lse, mean, top;
};
RowSums sums_of_rows(const at::Tensor& z) {
  RowSums sums;
  if (raw::has_kernels(z)) {
    const auto rows = z.contiguous();
    sums.lse = at::empty({z.size(0)}, z.options());
    sums.mean = at::empty({z.size(0)}, z.options());
    sums.top = at::empty({z.size(0)}, z.options());
    const int64_t width = z.size(1);
    share_rows(z.size(0), width, [&](int64_t first, int64_t count) {
      cpu::kernels().log_sum_exp(rows.const_data_ptr<float>() + first * width, count, width,
                                 sums.lse.mutable_data_ptr<float>() + first,
                                 sums.mean.mutable_data_ptr<float>() + first,
                                 sums.top.mutable_data_ptr<float>() + first);
    });
    return sums;
  }
  sums.top = z.amax(1);
  sums.lse = (z - sums.top.unsqueeze(1)).exp_().sum(1).log_().add_(sums.top);
  sums.mean = (z - sums.lse.unsqueeze(1)).exp_().mul_(z).sum(1);
  return sums;
}

// z becomes scale * (softmax(z) - onehot(target)), row by row.
at::Tensor softmax_grad(at::Tensor z, const at::Tensor& lse, const at::Tensor& scale,
                        const at::Tensor& targets) {
  if (raw::has_kernels(z)) {
    share_rows(z.size(0), z.size(1), [&](int64_t first, int64_t count) {
      cpu::kernels().softmax_grad(z.mutable_data_ptr<float>() + first * z.size(1),
                                  lse.const_data_ptr<float>() + first, scale.const_data_ptr<float>() + first,
                                  targets.const_data_ptr<int64_t>() + first, count, z.size(1));
    });
    return z;
  }
  z.sub_(lse.unsqueeze(1)).exp_().mul_(scale.unsqueeze(1));
  return z.scatter_add_(1, targets.unsqueeze(1), scale.neg().unsqueeze(1));
}

void cap(at::Tensor& z, double cap) {
  if (raw::has_kernels(z)) {
    share_rows(z.numel(), 1, [&](int64_t first, int64_t count) {
      cpu::kernels().soft_cap(z.mutable_data_ptr<float>() + first, count, static_cast<float>(cap));
    });
  } else {
    z.div_(cap).tanh_().mul_(cap);
  }
}

}  // namespace

at::Tensor log_sum_exp(const at::Tensor& scaled_logits) { return sums_of_rows(scaled_logits).lse; }

at::Tensor scaled_logits(const at::Tensor& hidden, const Weight& head, const LogitOptions& options) {
  auto logits = raw::at_least_float(raw::linear(hidden, head));
  if (options.soft_cap) cap(logits, *options.soft_cap);
  return options.temperature == 1.0 ? logits : logits.div_(options.temperature);
}

namespace raw {

int64_t logit_chunk_rows(int64_t vocab) { return std::clamp<int64_t>(kChunkNumbers / vocab, 64, 4096); }

// The head's panels for a micro-batch, in memory that stays with the thread: they are as large as a
// vocabulary, and glibc's memalign seldom finds a place for them where the last ones were, since it looks for
// some bytes more than those had.
at::Tensor panels_of(const Weight& head) {
  thread_local at::Tensor kept;
  const int64_t numbers = model::cpu::packed_size(head.rows.size(0), head.rows.size(1));
  const auto type = head.rounds() ? at::kBFloat16 : head.rows.scalar_type();
  const bool fits = kept.defined() && kept.numel() == numbers && kept.scalar_type() == type;
  if (!fits || kept.use_count() > 1) {
    kept.reset();
    kept = at::empty({numbers}, type);
  }
  pack_into(head.rows, kept);
  return kept;
}

// What all chunks multiply with: packed, or widened, once.
Weight of_chunks(const at::Tensor& hidden, const Weight& head) {
  if (has_kernels(hidden) && !head.packed.defined() && has_product_kernel(head.rows)) {
    return {head.rows, panels_of(head), head.rounding};
  }
  if (has_kernels(hidden)) return head;
  return {in_type_of(hidden, as_multiplied(head.rows, head.rounds())), {}, head.rounding};
}

TokenLogprobParts token_logprobs(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                                 const LogitOptions& options) {
  const int64_t rows = hidden.size(0);
  const auto weight = of_chunks(hidden, head);
  const auto type = at_least_float(hidden.narrow(0, 0, 0)).options();
  TokenLogprobParts parts{at::empty({rows}, type), at::empty({rows}, type), at::empty({rows}, type),
                          at::empty({rows}, type.dtype(at::kBool))};
  for_each_chunk(rows, head.rows.size(0), [&](int64_t first, int64_t count) {
    const auto z = model::scaled_logits(hidden.narrow(0, first, count), weight, options);
    const auto sums = sums_of_rows(z);
    const auto target = targets.narrow(0, first, count).unsqueeze(1);
    auto of_target = z.gather(1, target).squeeze(1);
    parts.is_top.narrow(0, first, count).copy_(of_target.ge(sums.top));
    parts.logprobs.narrow(0, first, count).copy_(of_target.sub_(sums.lse));
    parts.entropy.narrow(0, first, count).copy_(sums.lse - sums.mean);
    parts.lse.narrow(0, first, count).copy_(sums.lse);
  });
  return parts;
}

std::tuple<at::Tensor, at::Tensor> token_logprobs_backward(const TokenLogprobGrads& grads,
                                                           const at::Tensor& hidden, const Weight& head,
                                                           const at::Tensor& targets,
                                                           const TokenLogprobSums& sums,
                                                           const LogitOptions& options, bool head_is_frozen,
                                                           const at::Tensor& head_sum) {
  const auto weight = in_type_of(hidden, as_multiplied(head.rows, head.rounds()));
  const auto forward = of_chunks(hidden, head);
  auto grad_hidden = at::empty_like(hidden, at::MemoryFormat::Contiguous);
  auto grad_head =
      head_is_frozen || head_sum.defined() ? head_sum : at::zeros_like(weight, at::MemoryFormat::Contiguous);
  const auto scale = (grads.logprobs / -options.temperature).contiguous();  // [rows]
  const auto all_targets = targets.contiguous();
  for_each_chunk(hidden.size(0), head.rows.size(0), [&](int64_t first, int64_t count) {
    const auto part = [&](const at::Tensor& rows) { return rows.narrow(0, first, count); };
    const auto x = part(hidden);
    const auto z = model::scaled_logits(x, forward, options);
    at::Tensor slope;  // of the cap: 1 - tanh^2
    if (options.soft_cap) slope = 1 - (z * (options.temperature / *options.soft_cap)).square_();
    at::Tensor of_entropy;  // d entropy / d logit = -p (log p + entropy) / temperature
    if (grads.entropy.defined()) {
      const auto logprobs = z - part(sums.lse).unsqueeze(1);
      of_entropy = (logprobs + part(sums.entropy).unsqueeze(1)).mul_(logprobs.exp());
      of_entropy.mul_((part(grads.entropy) / -options.temperature).unsqueeze(1));
    }
    // d logprob / d logit = (1[target] - p) / temperature
    auto grad_logits = softmax_grad(z, part(sums.lse), part(scale), part(all_targets));
    if (of_entropy.defined()) grad_logits.add_(of_entropy);
    if (slope.defined()) grad_logits.mul_(slope);
    const auto grad_z = rounded(grad_logits.to(hidden.scalar_type()), head);
    part(grad_hidden).copy_(linear_grad_x(grad_z, weight));
    if (grad_head.defined()) add_linear_grad_weight(grad_z, rounded(x, head), grad_head);
  });
  return {grad_hidden, grad_head};
}

}  // namespace raw

at::Tensor mean_logits(const at::Tensor& hidden, const Weight& head, const LogitOptions& options) {
  const c10::NoGradGuard no_grad;
  const auto wide = raw::at_least_float(hidden);
  if (!options.soft_cap) {
    const auto mean_row =
        raw::as_multiplied(head.rows, head.rounds()).mean(0, /*keepdim=*/false, wide.scalar_type());
    return at::mv(raw::rounded(wide, head), mean_row).div_(options.temperature);
  }
  const auto weight = raw::of_chunks(hidden, head);
  auto means = at::empty({hidden.size(0)}, wide.options());
  for_each_chunk(hidden.size(0), head.rows.size(0), [&](int64_t first, int64_t count) {
    means.narrow(0, first, count)
        .copy_(scaled_logits(hidden.narrow(0, first, count), weight, options).mean(1));
  });
  return means;
}

}  // namespace sluice::model
