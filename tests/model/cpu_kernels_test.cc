// The float32 kernels against the compositions of ATen operators in float64.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/internal/implementations.h"

namespace sluice::model::raw {
namespace {

using at::Tensor;

Tensor numbers(at::IntArrayRef shape, double phase) {
  auto out = at::empty(shape, at::kFloat);
  auto* p = out.mutable_data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) {
    p[i] = static_cast<float>(
        2 * std::sin(static_cast<double>(i % 10007) * 0.37 * static_cast<double>(i % 101) + phase));
  }
  return out;
}

void expect_near(const Tensor& kernel, const Tensor& aten, double tolerance = 2e-6) {
  ASSERT_EQ(kernel.sizes(), aten.sizes());
  ASSERT_EQ(kernel.scalar_type(), at::kFloat);
  const double error = (kernel.to(at::kDouble) - aten).abs().max().item<double>();
  EXPECT_LE(error, tolerance * std::max(1.0, aten.abs().max().item<double>()));
}

Tensor wide(const Tensor& x) { return x.to(at::kDouble); }

// Each test runs once for every instruction set this processor has.
template <class F>
void for_each_instruction_set(F f) {
  using model::cpu::InstructionSet;
  for (const auto set : {InstructionSet::Narrow, InstructionSet::Avx2, InstructionSet::Avx512}) {
    if (!model::cpu::has(set)) continue;
    SCOPED_TRACE(static_cast<int>(set));
    model::cpu::use_kernels(set);
    f();
  }
}

// Widths that are no multiple of any vector, that are one, and that are many.
class RowwiseKernels : public testing::TestWithParam<int64_t> {};

TEST_P(RowwiseKernels, RmsNormAgrees) {
  for_each_instruction_set([&] {
    const auto x = numbers({150, GetParam()}, 0), weight = numbers({GetParam()}, 1),
               grad = numbers(x.sizes(), 2);
    const auto [out, inverse] = cpu::rms_norm(x, weight, 1e-3);
    const auto [wide_out, wide_inverse] = aten::rms_norm(wide(x), wide(weight), 1e-3);
    expect_near(out, wide_out);
    expect_near(inverse, wide_inverse);
    const auto [grad_x, grad_weight] = cpu::rms_norm_backward(grad, x, weight, inverse);
    const auto [wide_x, wide_weight] =
        aten::rms_norm_backward(wide(grad), wide(x), wide(weight), wide_inverse);
    expect_near(grad_x, wide_x);
    expect_near(grad_weight, wide_weight);
  });
}

TEST_P(RowwiseKernels, GatedAgrees) {
  for_each_instruction_set([&] {
    const auto x = numbers({7, 2 * GetParam()}, 0) * 20, grad = numbers({7, GetParam()}, 1);
    for (const auto activation : {Activation::Silu, Activation::GeluTanh}) {
      ASSERT_TRUE(cpu::takes_gated(x, activation));
      expect_near(cpu::gated(x, activation), aten::gated(wide(x), activation));
      expect_near(cpu::gated_backward(grad, x, activation),
                  aten::gated_backward(wide(grad), wide(x), activation));
    }
    EXPECT_FALSE(cpu::takes_gated(x, Activation::Gelu));
  });
}

TEST_P(RowwiseKernels, SoftCapAgrees) {
  for_each_instruction_set([&] {
    auto near_zero = at::linspace(-3, 3, GetParam());
    for (auto z : {numbers({GetParam()}, 0) * 9, near_zero, near_zero * 1e-4}) {
      const auto expected = (wide(z) / 2.5).tanh() * 2.5;
      model::cpu::kernels().soft_cap(z.mutable_data_ptr<float>(), z.numel(), 2.5f);
      EXPECT_LE(((wide(z) - expected) / expected.abs().clamp_min(1e-9)).abs().max().item<double>(), 5e-7);
    }
  });
}

TEST_P(RowwiseKernels, RopeAgrees) {
  for_each_instruction_set([&] {
    const auto angles = numbers({9, GetParam()}, 1);
    const auto positions = at::tensor({8, 0, 3, 3, 1}, at::kLong);
    for (const int64_t still : {0, 2, 7}) {  // numbers of a head that do not turn
      const auto all = numbers({5, 6, 2 * GetParam() + still}, 0), x = all.narrow(1, 1, 4);  // rows apart
      for (const bool backward : {false, true}) {
        expect_near(cpu::rope(x, angles.cos(), angles.sin(), positions, 3, backward),
                    aten::rope(wide(x), wide(angles.cos()), wide(angles.sin()), positions, 3,
                               RopeLayout::HalfSplit, backward));
      }
    }
  });
}

TEST_P(RowwiseKernels, LogSumExpAgrees) {
  for_each_instruction_set([&] {
    const auto z = numbers({6, GetParam()}, 0) * 30;
    expect_near(log_sum_exp(z), log_sum_exp(wide(z)));
    EXPECT_EQ(log_sum_exp(z - 5000.0).scalar_type(), at::kFloat);
    expect_near(log_sum_exp(z - 5000.0), log_sum_exp(wide(z) - 5000.0));
  });
}

TEST_P(RowwiseKernels, TokenLogprobsAgree) {
  for_each_instruction_set([&] {
    const auto hidden = numbers({70, 8}, 0), head = numbers({GetParam(), 8}, 1), grad = numbers({70}, 2);
    const auto targets = at::arange(70, at::kLong).remainder(GetParam());
    for (const auto& options :
         {LogitOptions{.temperature = 0.7}, LogitOptions{.temperature = 0.7, .soft_cap = 5.0}}) {
      const auto [logprobs, entropy, lse] = raw::token_logprobs(hidden, head, targets, options);
      const auto [wide_logprobs, wide_entropy, wide_lse] =
          raw::token_logprobs(wide(hidden), wide(head), targets, options);
      expect_near(logprobs, wide_logprobs);
      expect_near(entropy, wide_entropy, 3e-5);
      const auto [grad_hidden, grad_head] =
          token_logprobs_backward(grad, hidden, head, targets, lse, options, /*head_is_frozen=*/false);
      const auto [wide_hidden, wide_head] = token_logprobs_backward(
          wide(grad), wide(hidden), wide(head), targets, wide_lse, options, /*head_is_frozen=*/false);
      expect_near(grad_hidden, wide_hidden, 2e-5);
      expect_near(grad_head, wide_head, 2e-5);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Widths, RowwiseKernels, testing::Values(1, 5, 8, 16, 43, 128, 1000));

TEST(EmbeddingBackward, Agrees) {
  const auto grad = numbers({40, 21}, 0);
  const auto tokens = at::arange(40, at::kLong).remainder(7);
  expect_near(cpu::embedding_backward(grad, tokens, 9), aten::embedding_backward(wide(grad), tokens, 9));
}

struct Heads {
  int64_t heads, kv_heads, dim;
};

class AttentionKernels : public testing::TestWithParam<Heads> {};

TEST_P(AttentionKernels, AgreeOnAPackWithPrefixes) {
  for_each_instruction_set([&] {
    const int64_t heads = GetParam().heads, kv_heads = GetParam().kv_heads, dim = GetParam().dim;
    PackedBatchBuilder builder;
    const auto add = [&](int64_t length, int64_t prefix) {
      builder.add(std::vector<int32_t>(static_cast<size_t>(length), 1), prefix);
    };
    add(21, kNoPrefix);
    for (const int64_t length : {1, 2, 3, 4, 5, 37, 70}) add(length, 0);
    add(1, kNoPrefix);
    add(9, kNoPrefix);
    const auto batch = builder.build(at::kCPU);
    const auto plan = make_attention_plan(batch);
    const int64_t rows = batch.num_rows();
    const auto qkv = numbers({rows, heads + 2 * kv_heads, dim}, 0);
    const auto q = qkv.narrow(1, 0, heads), k = qkv.narrow(1, heads, kv_heads);
    const auto v = qkv.narrow(1, heads + kv_heads, kv_heads), grad = numbers(q.sizes(), 1);
    const AttentionOptions options{.scale = 1.0 / static_cast<double>(dim)};
    ASSERT_TRUE(cpu::takes_attention(q, k, v, options));

    const auto [out, lse] = cpu::attention(q, k, v, *plan, options);
    const auto [wide_out, nothing] = aten::attention(wide(q), wide(k), wide(v), *plan, options);
    expect_near(out, wide_out);
    const auto [grad_q, grad_k, grad_v] = cpu::attention_backward(grad, q, k, v, out, lse, *plan, options);
    const auto [wide_q, wide_k, wide_v] =
        aten::attention_backward(wide(grad), wide(q), wide(k), wide(v), wide_out, nothing, *plan, options);
    expect_near(grad_q, wide_q, 5e-6);
    expect_near(grad_k, wide_k, 5e-6);
    expect_near(grad_v, wide_v, 5e-6);
  });
}

TEST_P(AttentionKernels, AgreeOnCachedKeysInScatteredBlocks) {
  for_each_instruction_set([&] {
    const int64_t heads = GetParam().heads, kv_heads = GetParam().kv_heads, dim = GetParam().dim;
    KvCache cache({.num_layers = 1,
                   .layout = {{"k", kv_heads * dim}, {"v", kv_heads * dim}},
                   .num_blocks = 40,
                   .block_size = 3},
                  at::kCPU);
    const auto k = cache.rows(0, "k").view({-1, kv_heads, dim}),
               v = cache.rows(0, "v").view({-1, kv_heads, dim});
    k.copy_(numbers(k.sizes(), 0));
    v.copy_(numbers(v.sizes(), 1));
    const CacheView view{
        .cache = &cache, .block_table = {{5, 6, 2, 39}, {7, 1, 0, 30, 31, 32, 8, 9}}, .cached = {10, 4}};
    PackedBatchBuilder builder;
    builder.add(std::vector<int32_t>(1, 1), kNoPrefix, 10);
    builder.add(std::vector<int32_t>(18, 1), kNoPrefix, 4);
    const auto plan = make_attention_plan(builder.build(at::kCPU), view, std::nullopt);
    const auto q = numbers({19, heads, dim}, 2);
    const AttentionOptions options{.scale = 1.0 / static_cast<double>(dim)};
    const auto [out, lse] = cpu::attention(q, k, v, *plan, options);
    const auto [wide_out, nothing] = aten::attention(wide(q), wide(k), wide(v), *plan, options);
    expect_near(out, wide_out);
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionKernels,
                         testing::Values(Heads{2, 2, 16}, Heads{4, 2, 32}, Heads{6, 2, 48}, Heads{3, 1, 80}));

TEST(AttentionKernels, LeaveTheOtherCasesToAten) {
  const auto q = numbers({2, 2, 16}, 0), odd = numbers({2, 2, 12}, 0);
  EXPECT_FALSE(cpu::takes_attention(q, q, q, {.window = 4}));
  EXPECT_FALSE(cpu::takes_attention(q, q, q, {.soft_cap = 4}));
  EXPECT_FALSE(cpu::takes_attention(odd, odd, odd, {}));
  EXPECT_FALSE(cpu::takes_attention(wide(q), wide(q), wide(q), {}));
  EXPECT_FALSE(cpu::takes_attention(q.transpose(0, 1), q, q, {}));
}

}  // namespace
}  // namespace sluice::model::raw
