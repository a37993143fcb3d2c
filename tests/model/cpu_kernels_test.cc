// The float32 kernels against the compositions of ATen operators in float64.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "base/error.h"
#include "base/shared_work.h"
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
  for (const auto set :
       {InstructionSet::Narrow, InstructionSet::Avx2, InstructionSet::Avx512, InstructionSet::Tiles}) {
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
      const auto [logprobs, entropy, lse, is_top] = raw::token_logprobs(hidden, head, targets, options);
      const auto [wide_logprobs, wide_entropy, wide_lse, wide_is_top] =
          raw::token_logprobs(wide(hidden), wide(head), targets, options);
      EXPECT_TRUE(at::equal(is_top, wide_is_top));
      expect_near(logprobs, wide_logprobs);
      expect_near(entropy, wide_entropy, 3e-5);
      const auto [grad_hidden, grad_head] = token_logprobs_backward(
          {grad, grad}, hidden, head, targets, {lse, entropy}, options, /*head_is_frozen=*/false);
      const auto [wide_hidden, wide_head] =
          token_logprobs_backward({wide(grad), wide(grad)}, wide(hidden), wide(head), targets,
                                  {wide_lse, wide_entropy}, options, /*head_is_frozen=*/false);
      expect_near(grad_hidden, wide_hidden, 2e-5);
      expect_near(grad_head, wide_head, 2e-5);
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Widths, RowwiseKernels, testing::Values(1, 5, 8, 16, 43, 128, 1000));

// Rows and columns that fill tiles, panels and blocks, and that do not.
constexpr int64_t kProductRows[] = {1, 2, 3, 4, 5, 6, 7, 13, 48, 50, 100};
constexpr int64_t kProductColumns[] = {1, 16, 17, 63, 64, 65, 200};

TEST(Matmul, Agrees) {
  for_each_instruction_set([] {
    for (const int64_t rows : kProductRows) {
      for (const int64_t columns : kProductColumns) {
        const auto x = numbers({rows, 70}, 0), weight = numbers({columns, 70}, 1);
        expect_near(raw::linear(x, weight), raw::linear(wide(x), wide(weight)));
        const auto half = weight.to(at::kBFloat16);
        expect_near(raw::linear(x, half), raw::linear(wide(x), wide(half)));
      }
    }
  });
}

TEST(Matmul, GivesARowTheSameBitsAloneAndPacked) {
  for_each_instruction_set([] {
    const auto x = numbers({100, 300}, 0), weight = numbers({150, 300}, 1);
    for (const auto& one : {weight, weight.to(at::kBFloat16)}) {
      const auto all = raw::linear(x, one), packed = pack(one);
      EXPECT_TRUE(at::equal(all, raw::linear(x, {one, packed})));
      for (const int64_t rows : kProductRows) {
        const auto first = x.size(0) - rows;
        EXPECT_TRUE(
            at::equal(all.narrow(0, first, rows), raw::linear(x.narrow(0, first, rows), {one, packed})));
      }
    }
  });
}

// Numbers of float32 that are of the narrower type.
Tensor of(at::ScalarType type, const Tensor& x) { return x.to(type).to(at::kFloat); }

// What rounds rows, gradients and weights, and to what.
constexpr std::pair<model::Rounding, at::ScalarType> kBoth[] = {
    {model::Rounding::BFloat16Both, at::kBFloat16}, {model::Rounding::Float16Both, at::kHalf}};

TEST(Matmul, OfNarrowNumbersAgreesAndGivesARowTheSameBits) {
  for_each_instruction_set([] {
    for (const auto& [rounding, type] : kBoth) {
      for (const int64_t columns : kProductColumns) {
        for (const int64_t depth : {1, 33, 70, 160}) {
          const auto x = numbers({100, depth}, 0), rows = numbers({columns, depth}, 1);
          const model::Weight weight(rows, {}, rounding);
          const auto all = raw::linear(x, weight);
          expect_near(all, raw::linear(wide(of(type, x)), wide(of(type, rows))));
          const model::Weight packed(rows, pack(rows, type), weight.rounding);
          for (const int64_t count : kProductRows)
            EXPECT_TRUE(at::equal(all.narrow(0, 0, count), raw::linear(x.narrow(0, 0, count), packed)));
        }
      }
    }
  });
}

TEST(Matmul, OfNarrowNumbersAddsItsBiasAndItsSumInAnyBlockOfRows) {
  for_each_instruction_set([] {
    for (const auto& [rounding, type] : kBoth) {
      constexpr int64_t kRows = 601, kDepth = 45, kColumns = 50;
      const auto x = numbers({kRows, kDepth}, 0), rows = numbers({kColumns, kDepth}, 1),
                 bias = numbers({kColumns}, 2), before = numbers({kRows, kColumns}, 3);
      const auto panels = pack(rows, type);
      auto out = before.clone();
      model::cpu::kernels().matmul({.x = x.const_data_ptr<float>(),
                                    .x_stride = kDepth,
                                    .rows = kRows,
                                    .depth = kDepth,
                                    .columns = kColumns,
                                    .rounds_to = raw::number_type(type),
                                    .panels = panels.const_data_ptr(),
                                    .type = raw::type_of_packed(panels),
                                    .bias = bias.const_data_ptr<float>(),
                                    .adds = true,
                                    .out = out.mutable_data_ptr<float>(),
                                    .out_stride = kColumns});
      expect_near(out, wide(before) + wide(bias) + at::mm(wide(of(type, x)), wide(of(type, rows)).t()));
    }
  });
}

TEST(Matmul, OfNoDepthIsZero) {
  for_each_instruction_set([] {
    const model::Weight weight(at::zeros({20, 0}), {}, model::Rounding::BFloat16Both);
    EXPECT_TRUE(at::equal(raw::linear(at::zeros({3, 0}), weight), at::zeros({3, 20})));
  });
}

TEST(Matmul, RoundsToBFloat16AsATensorDoes) {
  for_each_instruction_set([] {
    const auto x = numbers({50, 70}, 0);
    auto weight = numbers({65, 70}, 1);
    weight[2][3] = std::numeric_limits<float>::infinity();
    weight[5][6] = 1.00390625f;  // half way: to the even one
    const model::Weight rounded(weight, {}, model::Rounding::BFloat16);
    const auto stored = weight.to(at::kBFloat16);
    EXPECT_TRUE(at::equal(pack(weight, at::kBFloat16), pack(stored)));
    EXPECT_TRUE(at::allclose(raw::linear(x, rounded), raw::linear(x, stored), 0, 0, /*equal_nan=*/true));
  });
}

// Of every exponent: the smallest and largest mantissas, halves that go to the even side, and some between.
Tensor of_every_exponent() {
  std::vector<float> all;
  for (uint32_t upper = 0; upper < 1u << 13; ++upper) {  // sign, exponent, and four bits of the mantissa
    for (const uint32_t lower : {0u, 0xfffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u, 0x3001u, 0x7ffffu})
      all.push_back(std::bit_cast<float>(upper << 19 | lower));
  }
  return at::tensor(all).view({-1, 1});
}

TEST(Matmul, RoundsToFloat16AsATensorDoes) {
  for_each_instruction_set([] {
    const auto all = of_every_exponent(), one = at::ones({1, 1});
    const auto expected = of(at::kHalf, all);
    const auto is_expected = [&](const Tensor& x) {
      return at::allclose(x, expected, 0, 0, /*equal_nan=*/true);
    };
    EXPECT_TRUE(is_expected(raw::linear(all, {one, {}, model::Rounding::Float16Both})));
    EXPECT_TRUE(is_expected(raw::linear(one, {all, {}, model::Rounding::Float16Both}).t()));
    // Parts of a number on tiles make a NaN of one that is infinite.
    const auto is_finite = expected.isfinite();
    const auto agrees = [&](const Tensor& x) {
      return at::equal(x.isfinite(), is_finite) &&
             at::equal(x.masked_select(is_finite), expected.masked_select(is_finite));
    };
    EXPECT_TRUE(agrees(raw::linear_grad_x(all, {one, {}, model::Rounding::Float16Both})));
    EXPECT_TRUE(agrees(raw::linear_grad_x(one, {all.t(), {}, model::Rounding::Float16Both}).t()));
    EXPECT_TRUE(agrees(raw::linear_grad_weight(all.t(), one, at::kHalf)));
  });
}

// The weight that stands for an int8 copy, and the copy.
std::pair<Tensor, model::Weight> rounded(const Tensor& weight) {
  const auto scales = weight.abs().amax(1) / 127;
  const auto numbers = (weight / scales.unsqueeze(1)).round();
  auto panels = at::empty({model::cpu::packed_size(weight.size(0), weight.size(1))}, at::kChar);
  auto packed_scales = at::empty({weight.size(0)}, at::kFloat);
  raw::pack_into(weight, panels, packed_scales);
  EXPECT_TRUE(at::equal(packed_scales, scales));
  model::Weight packed(weight, panels);
  packed.scales = packed_scales;
  return {numbers * scales.unsqueeze(1), packed};
}

TEST(Matmul, ReadsInt8WithAScaleForEachColumn) {
  for_each_instruction_set([] {
    const auto x = numbers({50, 70}, 0);
    for (const int64_t columns : kProductColumns) {
      const auto [stands_for, weight] = rounded(numbers({columns, 70}, 1));
      const auto all = raw::linear(x, weight);
      expect_near(all, raw::linear(wide(x), wide(stands_for)));
      for (const int64_t rows : {1, 5, 8}) {
        EXPECT_TRUE(at::equal(all.narrow(0, 3, rows), raw::linear(x.narrow(0, 3, rows), weight)));
      }
    }
  });
}

TEST(Matmul, RoundsNothingThatIsNotFinite) {
  auto weight = numbers({20, 40}, 1);
  weight[0].zero_();
  auto panels = at::empty({model::cpu::packed_size(20, 40)}, at::kChar), scales = at::empty({20}, at::kFloat);
  raw::pack_into(weight, panels, scales);
  model::Weight packed(weight, panels);
  packed.scales = scales;
  const auto product = raw::linear(numbers({3, 40}, 0), packed);
  EXPECT_TRUE(at::equal(product.select(1, 0), at::zeros({3})));
  weight[3][7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(raw::pack_into(weight, panels, scales), Error);
}

PackedBatch pack_with_prefixes() {
  PackedBatchBuilder builder;
  const auto add = [&](int64_t length, int64_t prefix) {
    builder.add(std::vector<int32_t>(static_cast<size_t>(length), 1), prefix);
  };
  add(21, kNoPrefix);
  for (const int64_t length : {1, 2, 5, 37}) add(length, 0);
  add(1, kNoPrefix);
  add(9, kNoPrefix);
  return builder.build(at::kCPU);
}

// What an actor computes is what a learner with another processor computes.
TEST(Forward, HasTheSameBitsWithEveryVectorThatFusesProductAndSum) {
  using model::cpu::InstructionSet;
  if (!model::cpu::has(InstructionSet::Avx512)) GTEST_SKIP() << "needs a processor with AVX-512";
  const auto forward = [](InstructionSet set) {
    model::cpu::use_kernels(set);
    std::vector<Tensor> results;
    for (const int64_t width : {16, 32, 43, 128, 1000}) {
      const auto x = numbers({500, width}, 0), weight = numbers({150, width}, 1);
      const auto [out, inverse] = cpu::rms_norm(x, numbers({width}, 1), 1e-6);
      results.insert(results.end(), {out, inverse, cpu::gated(numbers({50, 2 * width}, 0), Activation::Silu),
                                     cpu::gated(numbers({50, 2 * width}, 0), Activation::GeluTanh),
                                     raw::linear(x, weight), raw::linear(x, weight.to(at::kBFloat16))});
      auto lse = at::empty({500}, at::kFloat), mean = at::empty({500}, at::kFloat);
      std::vector<model::cpu::LogitSums> sums(500);
      model::cpu::kernels().add_logits(x.const_data_ptr<float>(), 500, width, sums.data());
      for (int64_t row = 0; row < 500; ++row) {
        lse.mutable_data_ptr<float>()[row] = model::cpu::log_sum_exp(sums[static_cast<size_t>(row)]);
        mean.mutable_data_ptr<float>()[row] = model::cpu::mean_logit(sums[static_cast<size_t>(row)]);
      }
      results.insert(results.end(), {lse, mean});
      auto capped = x.clone();
      model::cpu::kernels().soft_cap(capped.mutable_data_ptr<float>(), capped.numel(), 2.5f);
      results.push_back(capped);
      const auto angles = numbers({9, width}, 1);
      results.push_back(cpu::rope(numbers({5, 4, 2 * width}, 0), angles.cos(), angles.sin(),
                                  at::tensor({8, 0, 3, 3, 1}, at::kLong), 3, /*backward=*/false));
    }
    for (const int64_t dim : {16, 64}) {
      const auto plan = make_attention_plan(pack_with_prefixes());
      const int64_t rows = pack_with_prefixes().num_rows();
      const auto q = numbers({rows, 4, dim}, 0), k = numbers({rows, 2, dim}, 1),
                 v = numbers({rows, 2, dim}, 2);
      for (const auto& options :
           {AttentionOptions{.scale = 0.1}, AttentionOptions{.scale = 0.4, .soft_cap = 3.0}}) {
        const auto [out, sums] = cpu::attention(q, k, v, *plan, options);
        results.insert(results.end(), {out, sums});
      }
    }
    return results;
  };
  const auto eight = forward(InstructionSet::Avx2), sixteen = forward(InstructionSet::Avx512);
  for (size_t i = 0; i < eight.size(); ++i) {
    EXPECT_TRUE(at::equal(eight[i], sixteen[i])) << "result " << i << " " << eight[i].sizes();
  }
}

TEST(Matmul, RefusesRowsOfAnotherWidth) {
  for (const auto type : {at::kFloat, at::kDouble}) {
    const auto x = numbers({3, 40}, 0).to(type), weight = numbers({20, 41}, 1).to(type);
    EXPECT_THROW(raw::linear(x, weight), Error);
    EXPECT_THROW(raw::linear(x, {weight, pack(weight)}), Error);
  }
}

TEST(Matmul, TakesRowsThatLieApart) {
  const auto wide_rows = numbers({9, 100}, 0), weight = numbers({20, 40}, 1);
  const auto x = wide_rows.narrow(1, 30, 40);
  EXPECT_TRUE(at::equal(raw::linear(x, weight), raw::linear(x.contiguous(), weight)));
  EXPECT_TRUE(at::equal(raw::linear(wide_rows.t().narrow(0, 0, 20).contiguous().t(), weight.narrow(1, 0, 20)),
                        raw::linear(wide_rows.narrow(1, 0, 20), weight.narrow(1, 0, 20))));
}

struct Product {
  int64_t rows, out, in;
};
// Parts of tiles, several chunks of rows and of the depth.
constexpr Product kProducts[] = {{1, 1, 1},      {3, 12, 32},    {700, 29, 45},
                                 {256, 100, 17}, {20, 4200, 40}, {300, 65, 130}};

TEST(LinearBackward, Agrees) {
  for_each_instruction_set([] {
    for (const auto& [rows, out, in] : kProducts) {
      const auto grad = numbers({rows, out}, 0), weight = numbers({out, in}, 1), x = numbers({rows, in}, 2);
      expect_near(raw::linear_grad_x(grad, weight), at::mm(wide(grad), wide(weight)), 5e-6);
      auto sum = numbers({out, in}, 3);
      const auto expected = wide(sum) + at::mm(wide(grad).t(), wide(x));
      raw::add_linear_grad_weight(grad, x, /*type=*/{}, sum);
      expect_near(sum, expected, 5e-6);
    }
  });
}

TEST(LinearBackward, OfNarrowNumbersAgrees) {
  for_each_instruction_set([] {
    for (const auto& [rows, out, in] : kProducts) {
      const auto grad = numbers({rows, out}, 0), weight = numbers({out, in}, 1), x = numbers({rows, in}, 2);
      for (const auto& [rounding, type] : kBoth) {
        expect_near(raw::linear_grad_x(grad, {weight, {}, rounding}),
                    at::mm(wide(of(type, grad)), wide(of(type, weight))), 5e-6);
        expect_near(raw::linear_grad_weight(grad, x, type),
                    at::mm(wide(of(type, grad)).t(), wide(of(type, x))), 5e-6);
      }
      expect_near(raw::linear_grad_x(grad, {weight, {}, model::Rounding::BFloat16}),
                  at::mm(wide(grad), wide(of(at::kBFloat16, weight))), 5e-6);
    }
  });
}

// What three numbers of bfloat16 hold of one of float32.
TEST(LinearBackward, KeepsEveryBitOfANumber) {
  for_each_instruction_set([] {
    const auto one = at::eye(40, at::kFloat);
    auto x = numbers({40, 50}, 0);
    x[1] *= 1e-30;
    x[2] *= 1e30;
    x[3][4] = -0.0f;
    x[5][6] = 0x1.fffffep-1f;
    EXPECT_TRUE(at::equal(raw::linear_grad_x(one, x), x));
    EXPECT_TRUE(at::equal(raw::linear_grad_weight(one, x), x));
    EXPECT_TRUE(at::equal(raw::linear_grad_weight(x, one), x.t()));
  });
}

TEST(LinearBackward, TakesRowsThatLieApart) {
  const auto grads = numbers({70, 100}, 0), xs = numbers({70, 90}, 1), weight = numbers({40, 33}, 2);
  const auto grad = grads.narrow(1, 7, 40), x = xs.narrow(1, 5, 33);
  const auto turned = grad.t().contiguous().t();
  EXPECT_TRUE(at::equal(raw::linear_grad_x(grad, weight), raw::linear_grad_x(turned, weight)));
  EXPECT_TRUE(at::equal(raw::linear_grad_weight(grad, x), raw::linear_grad_weight(turned, x.contiguous())));
}

TEST(LinearBackward, LetsNoNumberThatIsNoneGetLost) {
  const auto of_bits = [](uint32_t bits) { return std::bit_cast<float>(bits); };
  for_each_instruction_set([&] {
    // All kinds of NaN: rounding such bits as a number's can make a number of it.
    for (const float none : {std::numeric_limits<float>::infinity(), of_bits(0x7fffffffu),
                             of_bits(0xffffffffu), of_bits(0x7f800001u), of_bits(0x7fc00000u)}) {
      auto grad = numbers({300, 20}, 0), weight = numbers({20, 30}, 1), x = at::zeros({300, 30});
      grad[270][3] = none;
      weight.zero_();
      for (const auto rounding :
           {model::Rounding::None, model::Rounding::BFloat16Both, model::Rounding::Float16Both}) {
        const model::Weight of(weight, {}, rounding);
        const auto grad_x = raw::linear_grad_x(grad, of),
                   grad_weight = raw::linear_grad_weight(grad, x, of.rounds_rows_to());
        EXPECT_TRUE(grad_x[270].isnan().all().item<bool>());
        EXPECT_EQ(grad_x.isnan().sum().item<int64_t>(), 30);
        EXPECT_TRUE(grad_weight[3].isnan().all().item<bool>());
        EXPECT_EQ(grad_weight.isnan().sum().item<int64_t>(), 30);
      }
    }
  });
}

// A pack whose completions stand behind prompts other than the last one.
PackedBatch pack_of_crossed_prefixes() {
  PackedBatchBuilder builder;
  builder.add(std::vector<int32_t>(40, 1));
  builder.add(std::vector<int32_t>(23, 1));
  builder.add(std::vector<int32_t>(31, 1), 0);
  builder.add(std::vector<int32_t>(17, 1), 1);
  builder.add(std::vector<int32_t>(50, 1));
  builder.add(std::vector<int32_t>(9, 1), 4);
  return builder.build(at::kCPU);
}

TEST(Kernels, GiveTheSameBitsWithAnyNumberOfThreads) {
  const auto batch = pack_of_crossed_prefixes();
  const auto plan = make_attention_plan(batch);
  const int64_t rows = batch.num_rows();
  const auto all = numbers({rows, 8, 32}, 0), grad = numbers({rows, 4, 32}, 1);
  const auto wide_x = numbers({1000, 600}, 2), wide_grad = numbers({1000, 600}, 3), norm = numbers({600}, 4);
  const auto weight = numbers({600, 600}, 5), targets = at::arange(1000, at::kLong).remainder(600);
  const auto results = [&] {
    const auto q = all.narrow(1, 0, 4), k = all.narrow(1, 4, 2), v = all.narrow(1, 6, 2);
    const auto [out, lse] = cpu::attention(q, k, v, *plan, {.scale = 0.1});
    const auto [grad_q, grad_k, grad_v] =
        cpu::attention_backward(grad, q, k, v, out, lse, *plan, {.scale = 0.1});
    const auto [normed, inverse] = cpu::rms_norm(wide_x, norm, 1e-5);
    const auto [grad_x, grad_norm] = cpu::rms_norm_backward(wide_grad, wide_x, norm, inverse);
    const auto parts = raw::token_logprobs(wide_x, weight, targets, {});
    return std::vector<Tensor>{out,
                               grad_q,
                               grad_k,
                               grad_v,
                               normed,
                               grad_x,
                               grad_norm,
                               parts.logprobs,
                               parts.entropy,
                               cpu::gated(wide_x, Activation::Silu),
                               cpu::gated_backward(wide_grad.narrow(1, 0, 300), wide_x, Activation::Silu),
                               raw::linear_grad_x(wide_grad, weight),
                               raw::linear_grad_weight(wide_grad, wide_x),
                               raw::linear_grad_weight(wide_grad.narrow(1, 0, 64), wide_x)};
  };
  const int before = work_threads();
  set_work_threads(1);
  const auto expected = results();
  for (const int threads : {2, 3, 5}) {
    set_work_threads(threads);
    const auto seen = results();
    for (size_t i = 0; i < seen.size(); ++i) EXPECT_TRUE(at::equal(seen[i], expected[i])) << i;
  }
  set_work_threads(before);
}

TEST(EmbeddingBackward, Agrees) {
  const auto grad = numbers({40, 21}, 0);
  const auto tokens = at::arange(40, at::kLong).remainder(7);
  expect_near(cpu::embedding_backward(grad, tokens, 9), aten::embedding_backward(wide(grad), tokens, 9));
}

struct Heads {
  int64_t heads, kv_heads, dim, value_dim;
};

class AttentionKernels : public testing::TestWithParam<Heads> {
 protected:
  const int64_t heads = GetParam().heads, kv_heads = GetParam().kv_heads, dim = GetParam().dim,
                value_dim = GetParam().value_dim;
  const double scale = 1.0 / static_cast<double>(dim);
  const std::vector<AttentionOptions> all_options = {{.scale = scale},
                                                     {.scale = 4 * scale, .soft_cap = 3.0},
                                                     {.scale = scale, .window = 1},
                                                     {.scale = scale, .window = 7},
                                                     {.scale = 4 * scale, .window = 33, .soft_cap = 3.0}};

  // Side by side, so that heads and rows are apart, as split_heads() gives them.
  struct Inputs {
    Tensor q, k, v;
  };
  Inputs inputs(int64_t rows) const {
    const auto all = numbers({rows, heads * dim + kv_heads * (dim + value_dim)}, 0);
    const auto kv = all.narrow(1, heads * dim, kv_heads * (dim + value_dim)).view({rows, kv_heads, -1});
    return {all.narrow(1, 0, heads * dim).view({rows, heads, dim}), kv.narrow(2, 0, dim),
            kv.narrow(2, dim, value_dim)};
  }
};

TEST_P(AttentionKernels, AgreeOnAPackWithPrefixes) {
  for_each_instruction_set([&] {
    const auto batch = pack_with_prefixes();
    const auto plan = make_attention_plan(batch);
    const auto [q, k, v] = inputs(batch.num_rows());
    const auto grad = numbers({batch.num_rows(), heads, value_dim}, 1);
    ASSERT_TRUE(cpu::takes_attention(q, k, v));
    for (const auto& options : all_options) {
      const auto [out, lse] = cpu::attention(q, k, v, *plan, options);
      const auto [wide_out, nothing] = aten::attention(wide(q), wide(k), wide(v), *plan, options);
      expect_near(out, wide_out);
      const auto [grad_q, grad_k, grad_v] = cpu::attention_backward(grad, q, k, v, out, lse, *plan, options);
      const auto [wide_q, wide_k, wide_v] =
          aten::attention_backward(wide(grad), wide(q), wide(k), wide(v), wide_out, nothing, *plan, options);
      expect_near(grad_q, wide_q, 5e-6);
      expect_near(grad_k, wide_k, 5e-6);
      expect_near(grad_v, wide_v, 5e-6);
    }
  });
}

TEST_P(AttentionKernels, AgreeOnCachedKeysInScatteredBlocks) {
  for_each_instruction_set([&] {
    const auto k = numbers({120, kv_heads, dim}, 0), v = numbers({120, kv_heads, value_dim}, 1);
    AttentionPlan plan;
    plan.runs = {{15, 6}, {6, 3}, {117, 2}, {21, 3}, {3, 3}, {0, 3}, {90, 13}};
    plan.sequences = {{.first_query = 0,
                       .num_queries = 1,
                       .first_place = 10,
                       .num_keys = 11,
                       .first_run = 0,
                       .num_runs = 3},
                      {.first_query = 1,
                       .num_queries = 18,
                       .first_place = 4,
                       .num_keys = 22,
                       .first_run = 3,
                       .num_runs = 4}};
    const auto q = numbers({19, heads, dim}, 2);
    for (const auto& options : all_options) {
      const auto [out, lse] = cpu::attention(q, k, v, plan, options);
      const auto [wide_out, nothing] = aten::attention(wide(q), wide(k), wide(v), plan, options);
      expect_near(out, wide_out);
    }
  });
}

// One sequence whose keys are rows 0 .. num_queries + first - 1.
AttentionPlan plain_plan(int64_t first, int64_t num_queries) {
  AttentionPlan plan;
  plan.runs = {{0, first + num_queries}};
  plan.sequences = {{.first_query = 0,
                     .num_queries = num_queries,
                     .first_place = first,
                     .num_keys = first + num_queries,
                     .first_run = 0,
                     .num_runs = 1}};
  return plan;
}

TEST_P(AttentionKernels, GiveATokenTheSameBitsAloneAsInABatch) {
  for_each_instruction_set([&] {
    constexpr int64_t kRows = 75;
    const auto [q, k, v] = inputs(kRows);
    for (const auto& options : all_options) {
      const auto [together, lse] = cpu::attention(q, k, v, plain_plan(0, kRows), options);
      for (const int64_t place : {0, 1, 6, 7, 8, 32, 33, 34, 50, 74}) {
        // With all the keys before it, as a cache holds them in pieces; and with those of its window alone.
        auto whole = plain_plan(place, 1);
        whole.runs = {{0, place / 2}, {place / 2, place + 1 - place / 2}};
        whole.sequences[0].num_runs = 2;
        const int64_t seen = std::min(place + 1, options.window.value_or(kRows)), from = place + 1 - seen;
        auto ring = plain_plan(seen - 1, 1);
        ring.runs = {{from, seen}};
        for (const auto& plan : {whole, ring}) {
          const auto [alone, lse_alone] = cpu::attention(q.narrow(0, place, 1), k, v, plan, options);
          EXPECT_TRUE(at::equal(alone[0], together[place])) << place;
          EXPECT_TRUE(at::equal(lse_alone[0], lse[place])) << place;
        }
      }
    }
  });
}

TEST_P(AttentionKernels, GiveATokenTheSameBitsBehindAPrefix) {
  for_each_instruction_set([&] {
    PackedBatchBuilder linked, apart;
    linked.add(std::vector<int32_t>(21, 1));
    linked.add(std::vector<int32_t>(37, 1), 0);
    apart.add(std::vector<int32_t>(58, 1));
    const auto [q, k, v] = inputs(58);
    for (const auto& options : all_options) {
      const auto one = cpu::attention(q, k, v, *make_attention_plan(linked.build(at::kCPU)), options);
      const auto other = cpu::attention(q, k, v, *make_attention_plan(apart.build(at::kCPU)), options);
      EXPECT_TRUE(at::equal(std::get<0>(one), std::get<0>(other)));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionKernels,
                         testing::Values(Heads{2, 2, 16, 16}, Heads{4, 2, 32, 32}, Heads{6, 2, 48, 48},
                                         Heads{3, 1, 80, 80}, Heads{4, 1, 48, 32}, Heads{2, 2, 16, 48}));

TEST(AttentionKernels, ReadValuesThatAreAPartOfTheKeys) {
  const auto keys = numbers({30, 1, 48}, 0), q = numbers({30, 4, 48}, 1), values = keys.narrow(2, 0, 32);
  ASSERT_TRUE(cpu::takes_attention(q, keys, values));
  for (const int64_t rows : {1, 30}) {
    const auto plan = plain_plan(30 - rows, rows);
    const auto of_rows = q.narrow(0, 30 - rows, rows);
    expect_near(std::get<0>(cpu::attention(of_rows, keys, values, plan, {.scale = 0.1})),
                std::get<0>(aten::attention(wide(of_rows), wide(keys), wide(values), plan, {.scale = 0.1})));
  }
}

TEST(AttentionKernels, LetNoNumberThatIsNoneGetLost) {
  for_each_instruction_set([] {
    auto q = numbers({40, 1, 16}, 0);
    const auto k = numbers({40, 1, 16}, 1);
    q[20][0][3] = std::nan("");
    for (const auto& options : {AttentionOptions{}, AttentionOptions{.soft_cap = 2.0}}) {
      const auto out = std::get<0>(cpu::attention(q, k, k, plain_plan(0, 40), options));
      EXPECT_TRUE(out[20].isnan().all().item<bool>());
      EXPECT_EQ(out.isnan().sum().item<int64_t>(), 16);
    }
  });
}

TEST(AttentionKernels, LeaveTheOtherCasesToAten) {
  const auto q = numbers({2, 2, 16}, 0), odd = numbers({2, 2, 12}, 0);
  EXPECT_FALSE(cpu::takes_attention(odd, odd, q));
  EXPECT_FALSE(cpu::takes_attention(q, q, odd));
  EXPECT_FALSE(cpu::takes_attention(wide(q), wide(q), wide(q)));
  EXPECT_FALSE(cpu::takes_attention(numbers({2, 16, 16}, 0).transpose(1, 2), q, q));
}

}  // namespace
}  // namespace sluice::model::raw
