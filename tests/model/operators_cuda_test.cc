// The kernels for a GPU against what the CPU computes; the twins are attention_test.cc, operators_test.cc and
// network_test.cc.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <gtest/gtest.h>

#include "model/internal/attention_plan.h"
#include "model/network.h"
#include "model/operators.h"
#include "tests/model/gradients.h"

namespace sluice::model {
namespace {

using at::Tensor;

// What a bfloat16 leaves of a number: 8 bits.
constexpr double kNarrow = 1.0 / 256;

#define NEEDS_A_GPU() \
  if (!at::cuda::is_available()) GTEST_SKIP() << "needs a CUDA device"

// The largest difference over the largest number.
double relative(const Tensor& a, const Tensor& b) {
  return difference(a.cpu(), b.cpu()) / b.cpu().abs().max().item<double>();
}

Tensor leaf(const Tensor& x, const at::Device& device) {
  return x.to(device, at::kFloat).clone().set_requires_grad(true);
}

struct Gradients {
  std::vector<Tensor> results, of_inputs;
};

// f(inputs) on a device, and the gradients of sum(result * weights) of all results.
template <class F>
Gradients gradients_on(const at::Device& device, const std::vector<Tensor>& inputs, F f) {
  std::vector<Tensor> leaves;
  for (const auto& input : inputs) leaves.push_back(leaf(input, device));
  Gradients gradients{f(leaves), {}};
  Tensor sum;
  double phase = 3;
  for (const auto& result : gradients.results) {
    const auto part = (result * numbers(result.sizes(), phase++).to(device, at::kFloat)).sum();
    sum = sum.defined() ? sum + part : part;
  }
  sum.backward();
  for (const auto& one : leaves) gradients.of_inputs.push_back(one.grad());
  return gradients;
}

void expect_alike(const Gradients& gpu, const Gradients& cpu, double tolerance) {
  for (size_t i = 0; i < cpu.results.size(); ++i)
    EXPECT_LE(relative(gpu.results[i], cpu.results[i]), tolerance) << "result " << i;
  for (size_t i = 0; i < cpu.of_inputs.size(); ++i)
    EXPECT_LE(relative(gpu.of_inputs[i], cpu.of_inputs[i]), tolerance) << "gradient " << i;
}

TEST(CudaLinear, MultipliesNumbersOf16Bits) {
  NEEDS_A_GPU();
  for (const auto rounding : {Rounding::BFloat16Both, Rounding::Float16Both}) {
    const auto f = [&](const auto& in) -> std::vector<Tensor> {
      return {model::linear(in[0], FusedWeight{.all = {in[1].detach(), {}, rounding}, .parts = {in[1]}})};
    };
    const std::vector<Tensor> inputs{numbers({48, 64}, 0), numbers({32, 64}, 1)};
    expect_alike(gradients_on(at::kCUDA, inputs, f), gradients_on(at::kCPU, inputs, f), 1e-5);
  }
}

TEST(CudaAttention, IsThatOfTheCpu) {
  NEEDS_A_GPU();
  PackedBatchBuilder builder;
  const auto add = [&](size_t length, int64_t prefix) {
    builder.add(std::vector<int32_t>(length, 1), prefix);
  };
  add(20, kNoPrefix);
  add(30, 0);
  add(7, 0);
  add(70, kNoPrefix);
  const int64_t rows = builder.num_rows();
  const std::vector<Tensor> inputs{numbers({rows, 4, 64}, 0), numbers({rows, 2, 64}, 1),
                                   numbers({rows, 2, 64}, 2)};
  for (const auto& options :
       {AttentionOptions{.scale = 0.125}, AttentionOptions{.scale = 0.3, .window = 9}}) {
    const auto on = [&](const at::Device& device, at::ScalarType type) {
      const auto plan = make_attention_plan(builder.build(device));
      return gradients_on(device, inputs, [&](const auto& in) -> std::vector<Tensor> {
        return {
            model::attention(in[0].to(type), in[1].to(type), in[2].to(type), plan, options).to(at::kFloat)};
      });
    };
    const auto expected = on(at::kCPU, at::kFloat);
    for (const auto type : {at::kBFloat16, at::kHalf})
      expect_alike(on(at::kCUDA, type), expected, 4 * kNarrow);
    expect_alike(on(at::kCUDA, at::kFloat), expected, 1e-5);
  }
}

TEST(CudaTokenLogprobs, AreThoseOfTheCpu) {
  NEEDS_A_GPU();
  const std::vector<Tensor> inputs{numbers({70, 48}, 0), numbers({1000, 48}, 1)};
  const auto targets = at::arange(70, at::kLong) * 13;
  for (const auto& options : {LogitOptions{}, LogitOptions{.temperature = 0.7, .soft_cap = 5.0}}) {
    for (const auto rounding : {Rounding::None, Rounding::BFloat16Both, Rounding::Float16Both}) {
      const auto f = [&](const auto& in) -> std::vector<Tensor> {
        const auto out =
            token_logprobs(in[0], Weight(in[1], {}, rounding), targets.to(in[0].device()), options);
        return {out.logprobs, out.entropy};
      };
      expect_alike(gradients_on(at::kCUDA, inputs, f), gradients_on(at::kCPU, inputs, f),
                   rounding == Rounding::None ? 1e-5 : kNarrow);
      const auto top_on = [&](const at::Device& device) {
        return token_logprobs(inputs[0].to(device, at::kFloat),
                              Weight(inputs[1].to(device, at::kFloat), {}, Rounding::None),
                              targets.to(device), options)
            .is_top.cpu();
      };
      EXPECT_TRUE(at::equal(top_on(at::kCUDA), top_on(at::kCPU)));
    }
  }
}

class CudaNetwork : public testing::TestWithParam<Rounding> {};
INSTANTIATE_TEST_SUITE_P(Narrow, CudaNetwork, testing::Values(Rounding::BFloat16Both, Rounding::Float16Both));

// The whole of it, with shared prompts: within the bound that a run of 16 bits is held to.
TEST_P(CudaNetwork, AgreesWithTheCpu) {
  NEEDS_A_GPU();
  LlamaShape shape;
  shape.vocab_size = 512;
  shape.hidden_size = 256;
  shape.intermediate_size = 384;
  shape.num_layers = 2;
  shape.num_heads = 4;
  shape.num_kv_heads = 2;
  shape.head_dim = 64;
  shape.max_position = 128;
  PackedBatchBuilder builder;
  std::vector<int32_t> tokens(40);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 37 % 512);
  builder.add(tokens);
  builder.add(tokens, 0);
  builder.add(tokens, 0);
  const auto on = [&](const at::Device& device) {
    Network network(llama_config(shape), device);
    network.init(7);
    network.round_products(GetParam());
    const auto rows = at::arange(119, at::kLong).to(device);
    const auto out = network.logprobs(builder.build(device), {rows, rows % 512}, 1.0);
    (1024 * out.logprobs.mean()).backward();  // as a scale of the loss keeps small numbers in float16
    std::vector<Tensor> grads;
    for (const auto& [name, parameter] : network.parameters())
      grads.push_back(parameter.grad().flatten().cpu());
    return std::pair(out.logprobs.detach().cpu(), at::cat(grads));
  };
  const auto [logprobs, gradient] = on(at::kCUDA);
  const auto [cpu_logprobs, cpu_gradient] = on(at::kCPU);
  EXPECT_LE((logprobs - cpu_logprobs).abs().mean().item<double>(), 5e-3);
  EXPECT_LE(((gradient - cpu_gradient).norm() / cpu_gradient.norm()).item<double>(), 0.02);
}

}  // namespace
}  // namespace sluice::model
