// Every operator against numbers worked by hand, and its backward against central differences in float64.
#include "model/operators.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "base/error.h"
#include "base/json.h"
#include "model/internal/attention_plan.h"
#include "model/internal/rope_table.h"

namespace sluice::model {
namespace {

using at::Tensor;

Json example(const std::string& name) {
  const Json all = read_json(std::filesystem::path(SLUICE_SOURCE_DIR) / "data/spec/examples.json");
  for (const auto& one : all.at("examples")) {
    if (one.at("name") == name) return one;
  }
  throw std::runtime_error("no example " + name);
}

Tensor vector_of(const Json& json) { return at::tensor(json.get<std::vector<double>>(), at::kDouble); }

Tensor matrix_of(const Json& json) {
  std::vector<Tensor> rows;
  for (const auto& row : json) rows.push_back(vector_of(row));
  return at::stack(rows);
}

// Numbers that look random, the same everywhere.
Tensor numbers(at::IntArrayRef shape, double phase) {
  auto out = at::empty(shape, at::kDouble);
  auto* p = out.mutable_data_ptr<double>();
  for (int64_t i = 0; i < out.numel(); ++i) p[i] = std::sin(static_cast<double>(i * i) * 0.37 + phase);
  return out;
}

// Compares the gradients of sum(f(inputs) * weights) with central differences.
void expect_gradients(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                      std::vector<Tensor> inputs) {
  for (auto& input : inputs) input.requires_grad_(true);
  const auto out = f(inputs);
  const auto weights = numbers(out.sizes(), 0.9);
  (out * weights).sum().backward();

  const at::NoGradGuard no_grad;
  const auto value = [&] { return (f(inputs) * weights).sum().item<double>(); };
  constexpr double kStep = 1e-6;
  for (size_t n = 0; n < inputs.size(); ++n) {
    auto* x = inputs[n].mutable_data_ptr<double>();
    const auto grad = inputs[n].grad().contiguous();
    for (int64_t i = 0; i < inputs[n].numel(); ++i) {
      const double kept = x[i];
      x[i] = kept + kStep;
      const double above = value();
      x[i] = kept - kStep;
      const double below = value();
      x[i] = kept;
      const double expected = (above - below) / (2 * kStep);
      EXPECT_NEAR(grad.data_ptr<double>()[i], expected, 1e-7 * std::max(1.0, std::abs(expected)))
          << "input " << n << ", number " << i;
    }
  }
}

PackedBatch batch_of(const std::vector<int64_t>& lengths, const std::vector<int64_t>& prefix) {
  PackedBatchBuilder builder;
  for (size_t s = 0; s < lengths.size(); ++s) {
    builder.add(std::vector<int32_t>(static_cast<size_t>(lengths[s]), 1), prefix[s]);
  }
  return builder.build(at::kCPU);
}

// Attention as the formula says, one query at a time; allowed [rows, rows].
Tensor plain_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& allowed,
                       const AttentionOptions& options) {
  const int64_t group = q.size(1) / k.size(1);
  std::vector<Tensor> heads;
  for (int64_t h = 0; h < q.size(1); ++h) {
    auto scores = at::mm(q.select(1, h), k.select(1, h / group).t()) * options.scale;
    if (options.soft_cap) scores = (scores / *options.soft_cap).tanh() * *options.soft_cap;
    scores = scores.masked_fill(allowed.logical_not(), -INFINITY);
    heads.push_back(at::mm(scores.softmax(1), v.select(1, h / group)));
  }
  return at::stack(heads, 1);
}

TEST(Linear, FusedWeightsGiveTheSameAsOneAfterAnother) {
  const auto flat = numbers({7 * 3}, 0.2).to(at::kFloat);
  FusedWeight weight{.all = flat.view({7, 3}), .parts = {}};
  weight.parts = {flat.narrow(0, 0, 12).view({4, 3}).detach().requires_grad_(true),
                  flat.narrow(0, 12, 9).view({3, 3}).detach().requires_grad_(true)};
  const auto x = numbers({5, 3}, 1).to(at::kFloat).requires_grad_(true);
  const auto weights = numbers({5, 7}, 2).to(at::kFloat);
  (model::linear(x, weight) * weights).sum().backward();

  const auto grad_x = x.grad().clone(), grad_0 = weight.parts[0].grad().clone();
  const auto grad_1 = weight.parts[1].grad().clone();
  x.mutable_grad().reset();
  for (auto& part : weight.parts) part.mutable_grad().reset();
  const auto apart = at::cat({model::linear(x, weight.parts[0]), model::linear(x, weight.parts[1])}, 1);
  (apart * weights).sum().backward();
  EXPECT_TRUE(at::allclose(grad_x, x.grad(), 1e-6, 1e-6));
  EXPECT_TRUE(at::allclose(grad_0, weight.parts[0].grad(), 1e-6, 1e-6));
  EXPECT_TRUE(at::allclose(grad_1, weight.parts[1].grad(), 1e-6, 1e-6));
}

TEST(Linear, GradientsAreThoseOfDifferences) {
  expect_gradients([](const auto& in) { return model::linear(in[0], in[1]); },
                   {numbers({3, 4}, 0), numbers({5, 4}, 1)});
}

TEST(Embedding, AddsTheGradientsOfATokenThatStandsTwice) {
  const auto table = at::zeros({4, 2}, at::kDouble).requires_grad_(true);
  model::embedding(table, at::tensor({1, 3, 1}, at::kLong)).sum().backward();
  EXPECT_TRUE(
      at::equal(table.grad(), at::tensor({0., 0., 2., 2., 0., 0., 1., 1.}, at::kDouble).view({4, 2})));
}

TEST(RmsNorm, DividesByTheRootOfTheMeanSquare) {
  const auto x = at::tensor({3.0, 4.0}, at::kDouble).view({1, 2});
  const auto out = model::rms_norm(x, at::tensor({1.0, 2.0}, at::kDouble), 0.0);
  EXPECT_NEAR(out[0][0].item<double>(), 3 / std::sqrt(12.5), 1e-12);
  EXPECT_NEAR(out[0][1].item<double>(), 8 / std::sqrt(12.5), 1e-12);
}

TEST(RmsNorm, GradientsAreThoseOfDifferences) {
  expect_gradients([](const auto& in) { return model::rms_norm(in[0], in[1], 1e-3); },
                   {numbers({3, 5}, 0), numbers({5}, 1)});
}

TEST(Swiglu, GatesTheSecondHalfByTheFirst) {
  const auto out = swiglu(at::tensor({1.0, 0.0, 3.0, 5.0}, at::kDouble).view({1, 4}));
  EXPECT_NEAR(out[0][0].item<double>(), 3 / (1 + std::exp(-1.0)), 1e-12);
  EXPECT_EQ(out[0][1].item<double>(), 0.0);
}

TEST(Swiglu, GradientsAreThoseOfDifferences) {
  expect_gradients([](const auto& in) { return swiglu(in[0]); }, {numbers({3, 10}, 0) * 3});
}

TEST(Rope, RotatesAsTheExampleOfTheSpec) {
  const auto one = example("rope_rotation_conventions");
  const auto [cos, sin] = rope_tables({.theta = 10000}, 4, 8, at::kCPU);
  const auto x = vector_of(one.at("inputs").at("x")).view({1, 1, 4});
  const auto out = rope(x, cos, sin, at::tensor({3}, at::kLong), 1);
  EXPECT_TRUE(at::allclose(out.view({4}), vector_of(one.at("expected").at("half_split")), 0, 1e-6)) << out;
}

TEST(Rope, FrequenciesAreThoseOfTheExampleOfTheSpec) {
  const auto one = example("rope_frequencies");
  const auto& expected = one.at("expected");
  const auto expect = [&](const RopeConfig& rope, const char* name) {
    const auto frequencies = rope_frequencies(rope, 8);
    const auto wanted = expected.at(name).get<std::vector<double>>();
    ASSERT_EQ(frequencies.size(), wanted.size());
    for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(frequencies[i], wanted[i], 1e-12) << name;
  };
  expect({.theta = 10000}, "default");
  expect({.theta = 10000, .type = "linear", .factor = 4}, "linear");
  expect({.theta = 500000}, "llama3_unscaled");
  expect({.theta = 500000, .type = "llama3", .factor = 8, .original_max_position = 8192}, "llama3");
}

TEST(Rope, LeavesTheLastHeadsAlone) {
  const auto [cos, sin] = rope_tables({}, 4, 8, at::kCPU);
  const auto x = numbers({2, 3, 4}, 0);
  const auto out = rope(x, cos, sin, at::tensor({5, 6}, at::kLong), 2);
  EXPECT_TRUE(at::equal(out.select(1, 2), x.select(1, 2)));
  EXPECT_FALSE(at::allclose(out.select(1, 1), x.select(1, 1)));
}

TEST(Rope, GradientsAreThoseOfDifferences) {
  const auto tables = rope_tables({}, 4, 8, at::kCPU);
  const auto positions = at::tensor({5, 0}, at::kLong);
  expect_gradients(
      [&](const auto& in) { return rope(in[0], std::get<0>(tables), std::get<1>(tables), positions, 2); },
      {numbers({2, 3, 4}, 0)});
}

TEST(SplitHeads, GradientsAreThoseOfDifferences) {
  expect_gradients(
      [](const auto& in) {
        const auto [q, k, v] = split_heads(in[0], 2, 1);
        return at::cat({q * 2, k * 3, v * k}, 1);
      },
      {numbers({2, 4, 3}, 0)});
}

TEST(Attention, SeesWhatThePackingExampleOfTheSpecAllows) {
  const auto one = example("packing");
  const auto lengths = one.at("inputs").at("sequence_lengths").get<std::vector<int64_t>>();
  const auto plan = make_attention_plan(batch_of(lengths, {-1, -1, -1}), nullptr);
  const auto allowed = matrix_of(one.at("expected").at("attention_allowed")).to(at::kBool);
  const auto q = numbers({9, 4, 6}, 0), k = numbers({9, 2, 6}, 1), v = numbers({9, 2, 6}, 2);
  const AttentionOptions options{.scale = 0.4};
  EXPECT_TRUE(
      at::allclose(model::attention(q, k, v, plan, options), plain_attention(q, k, v, allowed, options)));
}

TEST(Attention, ACompletionSeesAllOfItsPrefixAndAWindowCountsFromTheQuery) {
  // Sequence 0 is the prefix of 1 and 2; 3 stands alone.
  const auto plan = make_attention_plan(batch_of({2, 3, 1, 2}, {-1, 0, 0, -1}), nullptr);
  const auto allowed = at::tensor({1, 0, 0, 0, 0, 0, 0, 0,   //
                                   1, 1, 0, 0, 0, 0, 0, 0,   //
                                   1, 1, 1, 0, 0, 0, 0, 0,   //
                                   1, 1, 1, 1, 0, 0, 0, 0,   //
                                   1, 1, 1, 1, 1, 0, 0, 0,   //
                                   1, 1, 0, 0, 0, 1, 0, 0,   //
                                   0, 0, 0, 0, 0, 0, 1, 0,   //
                                   0, 0, 0, 0, 0, 0, 1, 1})  //
                           .view({8, 8})
                           .to(at::kBool);
  const auto q = numbers({8, 2, 4}, 0), k = numbers({8, 2, 4}, 1), v = numbers({8, 2, 4}, 2);
  const AttentionOptions options{.scale = 0.7, .soft_cap = 0.9};
  EXPECT_TRUE(
      at::allclose(model::attention(q, k, v, plan, options), plain_attention(q, k, v, allowed, options)));

  auto in_window =
      allowed.clone();  // of 3 keys: the last row of sequence 1 stands at place 4 and sees 2, 3, 4
  in_window[3][0] = false;
  in_window[4][0] = false;
  in_window[4][1] = false;
  const AttentionOptions windowed{.scale = 0.7, .window = 3};
  EXPECT_TRUE(
      at::allclose(model::attention(q, k, v, plan, windowed), plain_attention(q, k, v, in_window, windowed)));
}

TEST(Attention, GradientsAreThoseOfDifferences) {
  const auto plan = make_attention_plan(batch_of({2, 3, 1, 2}, {-1, 0, 0, -1}), nullptr);
  for (const auto& options : {AttentionOptions{.scale = 0.7}, AttentionOptions{.scale = 1.5, .soft_cap = 0.9},
                              AttentionOptions{.scale = 0.7, .window = 2}}) {
    expect_gradients([&](const auto& in) { return model::attention(in[0], in[1], in[2], plan, options); },
                     {numbers({8, 4, 4}, 0), numbers({8, 2, 4}, 1), numbers({8, 2, 4}, 2)});
  }
}

TEST(TokenLogprobs, AreThoseOfTheExampleOfTheSpecWithGradients) {
  const auto one = example("token_logprob_entropy");
  // A head of ones on the diagonal makes the hidden states the logits.
  const auto logits = matrix_of(one.at("inputs").at("logits")).requires_grad_(true);
  const auto targets = at::tensor(one.at("inputs").at("targets").get<std::vector<int64_t>>(), at::kLong);
  const auto result = token_logprobs(logits, at::eye(4, at::kDouble), targets, 0.7);
  EXPECT_TRUE(at::allclose(result.logprobs, vector_of(one.at("expected").at("logp")), 0, 1e-9));
  EXPECT_TRUE(at::allclose(result.entropy, vector_of(one.at("expected").at("entropy")), 0, 1e-9));
  EXPECT_FALSE(result.entropy.requires_grad());
  result.logprobs.sum().backward();
  EXPECT_TRUE(
      at::allclose(logits.grad(), matrix_of(one.at("expected").at("grad_sum_logp_wrt_logits")), 0, 1e-9));
}

TEST(TokenLogprobs, GradientsAreThoseOfDifferences) {
  const auto targets = at::tensor({2, 0, 6, 2}, at::kLong);
  expect_gradients([&](const auto& in) { return token_logprobs(in[0], in[1], targets, 0.6).logprobs; },
                   {numbers({4, 3}, 0), numbers({7, 3}, 1)});
}

TEST(TokenLogprobs, ManyChunksGiveWhatOneGives) {
  const int64_t rows = 150, vocab = 40000;  // chunks of 64 rows
  const auto hidden = numbers({rows, 4}, 0).to(at::kFloat).requires_grad_(true);
  const auto head = numbers({vocab, 4}, 1).to(at::kFloat).requires_grad_(true);
  const auto targets = at::arange(rows, at::kLong) * 7;
  const auto result = token_logprobs(hidden, head, targets, 1.3);
  const auto weights = numbers({rows}, 2).to(at::kFloat);
  (result.logprobs * weights).sum().backward();
  const auto grad_hidden = hidden.grad().clone(), grad_head = head.grad().clone();
  hidden.mutable_grad().reset();
  head.mutable_grad().reset();

  const auto log_probs = (at::mm(hidden, head.t()) / 1.3).log_softmax(1);
  const auto picked = log_probs.gather(1, targets.unsqueeze(1)).squeeze(1);
  (picked * weights).sum().backward();
  EXPECT_TRUE(at::allclose(result.logprobs, picked, 0, 1e-5));
  EXPECT_TRUE(at::allclose(result.entropy, -(log_probs * log_probs.exp()).sum(1), 0, 1e-4));
  EXPECT_TRUE(at::allclose(grad_hidden, hidden.grad(), 0, 1e-5));
  EXPECT_TRUE(at::allclose(grad_head, head.grad(), 0, 1e-5));
}

TEST(TokenLogprobs, RefuseATemperatureOfZero) {
  EXPECT_THROW(token_logprobs(at::zeros({1, 2}), at::zeros({3, 2}), at::tensor({0}, at::kLong), 0.0), Error);
}

TEST(LogSumExp, DoesNotOverflow) {
  const auto lse = log_sum_exp(at::tensor({1000.0f, 1000.0f, -1000.0f, -1000.0f}).view({2, 2}));
  EXPECT_NEAR(lse[0].item<double>(), 1000 + std::log(2.0), 1e-4);
  EXPECT_NEAR(lse[1].item<double>(), -1000 + std::log(2.0), 1e-4);
}

}  // namespace
}  // namespace sluice::model
