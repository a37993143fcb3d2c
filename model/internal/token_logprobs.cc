#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <vector>

#include "model/internal/chunks.h"
#include "model/internal/implementations.h"
#include "model/internal/share_rows.h"
#include "model/kernels/kernels.h"

namespace sluice::model {
namespace {

// Logits that are there at once: 8 MB, so that they stay in the cache.
constexpr int64_t kLogitsAtOnce = int64_t{1} << 21;
// On a GPU: half a gigabyte, so that the products have rows enough.
constexpr int64_t kGpuLogitsAtOnce = int64_t{1} << 27;

// Rows and tokens whose logits are there at once. On the CPU rows are many, so that what is done once for the
// tokens' weights costs little, and the vocabulary comes in parts of whole blocks.
struct Piece {
  int64_t rows, tokens;
};
Piece piece_on_cpu(int64_t rows, int64_t vocab) {
  constexpr int64_t kMostRows = 1024, kBlock = cpu::kLogitBlock;
  const int64_t together = std::clamp<int64_t>(rows, 1, kMostRows);
  return {together, std::min(vocab, kLogitsAtOnce / together / kBlock * kBlock)};
}
Piece piece_of(const at::Tensor& hidden, int64_t vocab) {
  return raw::has_kernels(hidden) ? piece_on_cpu(hidden.size(0), vocab)
                                  : Piece{raw::logit_chunk_rows(vocab), vocab};
}

// What the products with some tokens multiply with.
Weight of_tokens(const Weight& head, int64_t first, int64_t count) {
  if (count == head.rows.size(0)) return head;
  Weight part(head.rows.narrow(0, first, count), {}, head.rounding);
  if (head.packed.defined()) {
    const int64_t depth = head.rows.size(1);
    part.packed = head.packed.narrow(0, cpu::packed_size(first, depth), cpu::packed_size(count, depth));
  }
  if (head.scales.defined()) part.scales = head.scales.narrow(0, first, count);
  return part;
}

void add_logits(const at::Tensor& z, std::vector<cpu::LogitSums>& sums) {
  const auto* const from = z.const_data_ptr<float>();
  share_rows(z.size(0), z.size(1), [&](int64_t first, int64_t count) {
    cpu::kernels().add_logits(from + first * z.size(1), count, z.size(1),
                              sums.data() + static_cast<size_t>(first));
  });
}

// z of the tokens from `first` on becomes scale * (softmax(z) - onehot(target)), row by row.
at::Tensor softmax_grad(at::Tensor z, const at::Tensor& lse, const at::Tensor& scale,
                        const at::Tensor& targets, int64_t first) {
  if (raw::has_kernels(z)) {
    auto* const to = z.mutable_data_ptr<float>();
    share_rows(z.size(0), z.size(1), [&](int64_t row, int64_t count) {
      cpu::kernels().softmax_grad(to + row * z.size(1), lse.const_data_ptr<float>() + row,
                                  scale.const_data_ptr<float>() + row,
                                  targets.const_data_ptr<int64_t>() + row, first, count, z.size(1));
    });
    return z;
  }
  z.sub_(lse.unsqueeze(1)).exp_().mul_(scale.unsqueeze(1));
  return z.scatter_add_(1, targets.unsqueeze(1), scale.neg().unsqueeze(1));
}

void divide(at::Tensor& z, double temperature) {
  if (raw::has_kernels(z)) {
    auto* const to = z.mutable_data_ptr<float>();
    share_rows(z.numel(), 1, [to, by = static_cast<float>(temperature)](int64_t first, int64_t count) {
      int64_t i = first;
      for (; i + 16 <= first + count; i += 16) {  // as wide as any vector
        for (int64_t lane = 0; lane < 16; ++lane) to[i + lane] /= by;
      }
      for (; i < first + count; ++i) to[i] /= by;
    });
  } else {
    z.div_(temperature);
  }
}

void cap(at::Tensor& z, double cap) {
  if (raw::has_kernels(z)) {
    auto* const to = z.mutable_data_ptr<float>();
    share_rows(z.numel(), 1, [&](int64_t first, int64_t count) {
      cpu::kernels().soft_cap(to + first, count, static_cast<float>(cap));
    });
  } else {
    z.div_(cap).tanh_().mul_(cap);
  }
}

}  // namespace

at::Tensor log_sum_exp(const at::Tensor& scaled_logits) {
  if (!raw::has_kernels(scaled_logits)) {
    const auto top = scaled_logits.amax(1);
    return (scaled_logits - top.unsqueeze(1)).exp_().sum(1).log_().add_(top);
  }
  std::vector<cpu::LogitSums> sums(static_cast<size_t>(scaled_logits.size(0)));
  add_logits(scaled_logits.contiguous(), sums);
  auto lse = at::empty({scaled_logits.size(0)}, scaled_logits.options());
  std::ranges::transform(sums, lse.mutable_data_ptr<float>(),
                         [](const auto& of_row) { return cpu::log_sum_exp(of_row); });
  return lse;
}

at::Tensor scaled_logits(const at::Tensor& hidden, const Weight& head, const LogitOptions& options) {
  auto logits = raw::at_least_float(raw::linear(hidden, head));
  if (options.soft_cap) cap(logits, *options.soft_cap);
  if (options.temperature != 1.0) divide(logits, options.temperature);
  return logits;
}

namespace raw {

using at::Tensor;

namespace {

// For the chunk of rows `first` .. of the parts.
void put(const TokenLogprobParts& parts, int64_t first, const std::vector<model::cpu::LogitSums>& sums,
         const std::vector<float>& of_target) {
  auto *const logprobs = parts.logprobs.mutable_data_ptr<float>() + first,
              *const entropy = parts.entropy.mutable_data_ptr<float>() + first,
              *const lse = parts.lse.mutable_data_ptr<float>() + first;
  auto* const is_top = parts.is_top.mutable_data_ptr<bool>() + first;
  for (size_t row = 0; row < sums.size(); ++row) {
    lse[row] = log_sum_exp(sums[row]);
    logprobs[row] = of_target[row] - lse[row];
    entropy[row] = lse[row] - mean_logit(sums[row]);
    is_top[row] = of_target[row] >= sums[row].top;
  }
}

TokenLogprobParts parts_for(const Tensor& hidden) {
  const int64_t rows = hidden.size(0);
  const auto type = at_least_float(hidden.narrow(0, 0, 0)).options();
  return {at::empty({rows}, type), at::empty({rows}, type), at::empty({rows}, type),
          at::empty({rows}, type.dtype(at::kBool))};
}

}  // namespace

int64_t logit_chunk_rows(int64_t vocab) { return std::clamp<int64_t>(kLogitsAtOnce / vocab, 64, 4096); }

int64_t gpu_logit_rows(int64_t vocab) { return std::clamp<int64_t>(kGpuLogitsAtOnce / vocab, 64, 8192); }

int64_t logits_at_once(const at::Device& device, int64_t rows, int64_t vocab) {
  if (!device.is_cpu()) return std::min(rows, gpu_logit_rows(vocab)) * vocab;
  const auto piece = piece_on_cpu(rows, vocab);
  return std::min(rows, piece.rows) * piece.tokens;
}

namespace cpu {

TokenLogprobParts token_logprobs(const Tensor& hidden, const Weight& head, const Tensor& targets,
                                 const LogitOptions& options) {
  const int64_t vocab = head.rows.size(0);
  const auto [rows_at_once, tokens_at_once] = piece_on_cpu(hidden.size(0), vocab);
  const auto all_targets = targets.contiguous();
  const auto* const target = all_targets.const_data_ptr<int64_t>();
  const auto parts = parts_for(hidden);
  for_each_chunk(hidden.size(0), rows_at_once, [&](int64_t first_row, int64_t rows) {
    std::vector<model::cpu::LogitSums> sums(static_cast<size_t>(rows));
    std::vector<float> of_target(sums.size());
    for_each_chunk(vocab, tokens_at_once, [&](int64_t first, int64_t tokens) {
      const auto z =
          model::scaled_logits(hidden.narrow(0, first_row, rows), of_tokens(head, first, tokens), options);
      add_logits(z, sums);
      for (int64_t row = 0; row < rows; ++row) {
        const int64_t place = target[first_row + row] - first;
        if (place >= 0 && place < tokens)
          of_target[static_cast<size_t>(row)] = z.const_data_ptr<float>()[row * tokens + place];
      }
    });
    put(parts, first_row, sums, of_target);
  });
  return parts;
}

}  // namespace cpu

namespace aten {

TokenLogprobParts token_logprobs(const Tensor& hidden, const Weight& head, const Tensor& targets,
                                 const LogitOptions& options) {
  const Weight weight(in_type_of(hidden, as_multiplied(head.rows, head.rounds_to())), {}, head.rounding);
  const auto parts = parts_for(hidden);
  for_each_chunk(hidden.size(0), logit_chunk_rows(head.rows.size(0)), [&](int64_t first, int64_t count) {
    const auto part = [&](const Tensor& rows) { return rows.narrow(0, first, count); };
    const auto z = model::scaled_logits(part(hidden), weight, options);
    const auto top = z.amax(1), lse = (z - top.unsqueeze(1)).exp_().sum(1).log_().add_(top);
    const auto of_target = z.gather(1, part(targets).unsqueeze(1)).squeeze(1);
    part(parts.is_top).copy_(of_target.ge(top));
    part(parts.logprobs).copy_(of_target - lse);
    part(parts.entropy).copy_(lse - (z - lse.unsqueeze(1)).exp_().mul_(z).sum(1));
    part(parts.lse).copy_(lse);
  });
  return parts;
}

}  // namespace aten

std::tuple<Tensor, Tensor> token_logprobs_backward(const TokenLogprobGrads& grads, const Tensor& hidden,
                                                   const Weight& head, const Tensor& targets,
                                                   const TokenLogprobSums& sums, const LogitOptions& options,
                                                   bool head_is_frozen, const Tensor& head_sum) {
  if (cuda::takes_logits(hidden))
    return cuda::token_logprobs_backward(grads, hidden, head, targets, sums, options, head_is_frozen,
                                         head_sum);
  const int64_t vocab = head.rows.size(0);
  const auto [rows_at_once, tokens_at_once] = piece_of(hidden, vocab);
  auto grad_hidden = at::zeros(hidden.sizes(), hidden.options());
  auto grad_head =
      head_is_frozen || head_sum.defined() ? head_sum : at::zeros(head.rows.sizes(), hidden.options());
  const auto scale = (grads.logprobs / -options.temperature).contiguous();  // [rows]
  const auto all_targets = targets.contiguous();
  const auto add = [&](int64_t first_row, int64_t rows, int64_t first, int64_t tokens) {
    const auto part = [&](const Tensor& all) { return all.narrow(0, first_row, rows); };
    const auto weight = of_tokens(head, first, tokens);
    const auto x = part(hidden);
    const auto z = model::scaled_logits(x, weight, options);
    Tensor slope;  // of the cap: 1 - tanh^2
    if (options.soft_cap) slope = 1 - (z * (options.temperature / *options.soft_cap)).square_();
    Tensor of_entropy;  // d entropy / d logit = -p (log p + entropy) / temperature
    if (grads.entropy.defined()) {
      const auto logprobs = z - part(sums.lse).unsqueeze(1);
      of_entropy = (logprobs + part(sums.entropy).unsqueeze(1)).mul_(logprobs.exp());
      of_entropy.mul_((part(grads.entropy) / -options.temperature).unsqueeze(1));
    }
    // d logprob / d logit = (1[target] - p) / temperature
    auto grad_logits = softmax_grad(z, part(sums.lse), part(scale), part(all_targets), first);
    if (of_entropy.defined()) grad_logits.add_(of_entropy);
    if (slope.defined()) grad_logits.mul_(slope);
    const auto grad_z = grad_logits.to(hidden.scalar_type());
    auto of_rows = part(grad_hidden);
    add_linear_grad_x(grad_z, weight, of_rows);
    if (!grad_head.defined()) return;
    auto of_head = grad_head.narrow(0, first, tokens);
    add_linear_grad_weight(grad_z, x, head.rounds_rows_to(), of_head);
  };
  for_each_chunk(hidden.size(0), rows_at_once, [&](int64_t first_row, int64_t rows) {
    for_each_chunk(vocab, tokens_at_once,
                   [&](int64_t first, int64_t tokens) { add(first_row, rows, first, tokens); });
  });
  return {grad_hidden, grad_head};
}

}  // namespace raw

at::Tensor mean_logits(const at::Tensor& hidden, const Weight& head, const LogitOptions& options) {
  const c10::NoGradGuard no_grad;
  const auto wide = raw::at_least_float(hidden);
  if (!options.soft_cap) {
    const auto mean_row =
        raw::as_multiplied(head.rows, head.rounds_to()).mean(0, /*keepdim=*/false, wide.scalar_type());
    return at::mv(raw::rounded(wide, head.rounds_rows_to()), mean_row).div_(options.temperature);
  }
  auto means = at::empty({hidden.size(0)}, wide.options());
  for_each_chunk(hidden.size(0), raw::logit_chunk_rows(head.rows.size(0)), [&](int64_t first, int64_t count) {
    means.narrow(0, first, count).copy_(scaled_logits(hidden.narrow(0, first, count), head, options).mean(1));
  });
  return means;
}

}  // namespace sluice::model
