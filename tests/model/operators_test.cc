// Every operator against numbers worked by hand, and its backward against central differences in float64.
// Attention is in attention_test.cc.
#include "model/operators.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.h"
#include "tests/model/gradients.h"
#include "tests/spec_example.h"

namespace sluice::model {
namespace {

using at::Tensor;

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

// Weights stored as bfloat16 give what the same numbers give in float32.
TEST(Linear, WidensAStoredWeight) {
  const auto weight = numbers({5, 4}, 1).to(at::kBFloat16), wide = weight.to(at::kFloat);
  const FusedWeight fused{.all = weight, .parts = {weight.narrow(0, 0, 2), weight.narrow(0, 2, 3)}};
  const auto gradient = [](const auto& f) {
    const auto x = numbers({3, 4}, 0).to(at::kFloat).requires_grad_(true);
    const auto out = f(x);
    (out * numbers({3, 5}, 2).to(at::kFloat)).sum().backward();
    return at::cat({out.flatten(), x.grad().flatten()});
  };
  const auto expected = gradient([&](const Tensor& x) { return model::linear(x, wide); });
  EXPECT_TRUE(at::equal(gradient([&](const Tensor& x) { return model::linear(x, weight); }), expected));
  EXPECT_TRUE(at::equal(gradient([&](const Tensor& x) { return model::linear(x, fused); }), expected));
}

// Each of the three products reads narrow numbers on both sides.
TEST(Linear, RoundsBothFactorsForwardAndBackward) {
  for (const auto type : {at::kBFloat16, at::kHalf}) {
    const auto rounding = type == at::kHalf ? Rounding::Float16Both : Rounding::BFloat16Both;
    const auto rounded = [&](const Tensor& x) { return x.detach().to(type).to(at::kFloat); };
    const auto x = numbers({3, 4}, 0.1).to(at::kFloat).requires_grad_(true);
    const auto w = numbers({5, 4}, 1.2).to(at::kFloat).requires_grad_(true);
    const auto grad = numbers({3, 5}, 2.3).to(at::kFloat);

    const auto out = model::linear(x, FusedWeight{.all = {w.detach(), {}, rounding}, .parts = {w}});
    out.backward(grad);

    EXPECT_TRUE(at::allclose(out, at::mm(rounded(x), rounded(w).t()), 1e-6, 1e-6));
    EXPECT_TRUE(at::allclose(x.grad(), at::mm(rounded(grad), rounded(w)), 1e-6, 1e-6));
    EXPECT_TRUE(at::allclose(w.grad(), at::mm(rounded(grad).t(), rounded(x)), 1e-6, 1e-6));
    EXPECT_FALSE(at::allclose(out, at::mm(x, w.t()), 1e-5, 1e-5));
  }
}

// As an optimizer's buffer is one: nothing of a vocabulary's size is made beside it.
TEST(Embedding, AddsToTheGradientThatIsThere) {
  const auto table = numbers({4, 2}, 0).to(at::kFloat).requires_grad_(true);
  const auto buffer = at::ones({8});
  table.mutable_grad() = buffer.view({4, 2});
  model::embedding(table, at::tensor({1, 3, 1}, at::kLong)).sum().backward();
  EXPECT_TRUE(table.grad().is_alias_of(buffer));
  EXPECT_TRUE(at::equal(buffer, at::tensor({1.0f, 1.0f, 3.0f, 3.0f, 1.0f, 1.0f, 2.0f, 2.0f})));
}

TEST(TokenLogprobs, AddsTheHeadsGradientToWhatIsThere) {
  const auto hidden = numbers({3, 4}, 0).to(at::kFloat), targets = at::tensor({1, 0, 4}, at::kLong);
  const auto gradient = [&](const Tensor& head) {
    token_logprobs(hidden, head, targets, {.temperature = 0.7}).logprobs.sum().backward();
    return head.grad();
  };
  const auto first = numbers({5, 4}, 1).to(at::kFloat).requires_grad_(true);
  const auto second = first.detach().clone().requires_grad_(true);
  const auto buffer = at::ones({20});
  second.mutable_grad() = buffer.view({5, 4});
  const auto expected = gradient(first) + 1;
  EXPECT_TRUE(at::allclose(gradient(second), expected, 1e-6, 1e-6));
  EXPECT_TRUE(second.grad().is_alias_of(buffer));
}

TEST(Embedding, WidensAStoredTable) {
  const auto table = numbers({4, 2}, 0).to(at::kBFloat16);
  const auto rows = model::embedding(table, at::tensor({3, 0}, at::kLong));
  EXPECT_EQ(rows.scalar_type(), at::kFloat);
  EXPECT_TRUE(at::equal(rows[0], table[3].to(at::kFloat)));
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

TEST(RmsNorm, WidensItsWeightAndTakesStatisticsInFloat32) {
  const auto weight = numbers({5}, 1).to(at::kBFloat16);
  const auto x = numbers({3, 5}, 0).to(at::kFloat);
  EXPECT_TRUE(at::equal(model::rms_norm(x, weight, 1e-3), model::rms_norm(x, weight.to(at::kFloat), 1e-3)));

  const auto narrow = x.to(at::kBFloat16);
  const auto out = model::rms_norm(narrow, weight, 1e-3);
  EXPECT_EQ(out.scalar_type(), at::kBFloat16);
  // One rounding, at the end.
  EXPECT_TRUE(at::equal(out, model::rms_norm(narrow.to(at::kDouble), weight.to(at::kDouble), 1e-3)
                                 .to(at::kFloat)
                                 .to(at::kBFloat16)));
}

TEST(LayerNorm, CentresAndScales) {
  const auto x = at::tensor({1.0, 3.0}, at::kDouble).view({1, 2});  // mean 2, deviation 1
  const auto out =
      model::layer_norm(x, at::tensor({1.0, 2.0}, at::kDouble), at::tensor({0.5, 0.0}, at::kDouble), 0.0);
  EXPECT_NEAR(out[0][0].item<double>(), -0.5, 1e-12);
  EXPECT_NEAR(out[0][1].item<double>(), 2.0, 1e-12);
}

TEST(LayerNorm, GradientsAreThoseOfDifferences) {
  expect_gradients([](const auto& in) { return model::layer_norm(in[0], in[1], in[2], 1e-3); },
                   {numbers({3, 5}, 0), numbers({5}, 1), numbers({5}, 2)});
}

TEST(LayerNorm, WidensItsWeights) {
  const auto weight = numbers({5}, 1).to(at::kBFloat16), bias = numbers({5}, 2).to(at::kBFloat16);
  const auto x = numbers({3, 5}, 0).to(at::kFloat);
  EXPECT_TRUE(at::equal(model::layer_norm(x, weight, bias, 1e-3),
                        model::layer_norm(x, weight.to(at::kFloat), bias.to(at::kFloat), 1e-3)));
}

constexpr Activation kActivations[] = {Activation::Silu, Activation::Gelu, Activation::GeluTanh};

TEST(Activate, IsWhatItsNameSays) {
  const auto at_one = [](Activation activation) {
    return activate(at::tensor({1.0}, at::kDouble), activation).item<double>();
  };
  EXPECT_NEAR(at_one(Activation::Silu), 1 / (1 + std::exp(-1.0)), 1e-12);
  EXPECT_NEAR(at_one(Activation::Gelu), 0.5 * (1 + std::erf(std::sqrt(0.5))), 1e-12);
  EXPECT_NEAR(at_one(Activation::GeluTanh), 0.5 * (1 + std::tanh(std::sqrt(2 / M_PI) * 1.044715)), 1e-12);
}

TEST(Activate, GradientsAreThoseOfDifferences) {
  for (const auto activation : kActivations) {
    expect_gradients([&](const auto& in) { return activate(in[0], activation); }, {numbers({3, 7}, 0) * 3});
  }
}

TEST(Gated, GatesTheSecondHalfByTheFirst) {
  const auto out = gated(at::tensor({1.0, 0.0, 3.0, 5.0}, at::kDouble).view({1, 4}), Activation::Silu);
  EXPECT_NEAR(out[0][0].item<double>(), 3 / (1 + std::exp(-1.0)), 1e-12);
  EXPECT_EQ(out[0][1].item<double>(), 0.0);
  for (const auto activation : kActivations) {
    const auto x = numbers({3, 10}, 0);
    EXPECT_TRUE(at::allclose(gated(x, activation),
                             activate(x.narrow(1, 0, 5), activation) * x.narrow(1, 5, 5), 0, 1e-12));
  }
}

TEST(Gated, GradientsAreThoseOfDifferences) {
  for (const auto activation : kActivations) {
    expect_gradients([&](const auto& in) { return gated(in[0], activation); }, {numbers({3, 10}, 0) * 3});
  }
}

// Cosines and sines of positions 0 .. 7 of heads of which `rotated` numbers turn.
struct Tables {
  Tensor cos, sin;
};
Tables tables(int64_t rotated) {
  const auto exponents = at::arange(rotated / 2, at::kDouble) * (-2.0 / static_cast<double>(rotated));
  const auto angles = at::outer(at::arange(8, at::kDouble), at::pow(at::Scalar(10000.0), exponents));
  return {angles.cos().to(at::kFloat), angles.sin().to(at::kFloat)};
}

constexpr RopeLayout kLayouts[] = {RopeLayout::HalfSplit, RopeLayout::Interleaved};

TEST(Rope, RotatesAsTheExampleOfTheSpec) {
  const auto& one = spec_example("rope_rotation_conventions");
  const auto [cos, sin] = tables(4);
  const auto position = at::tensor({3}, at::kLong);
  const auto x = vector_of(one.at("inputs").at("x")).view({1, 1, 4});
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto expect = [&](RopeLayout layout, const char* name) {
      const auto out = rope(x.to(type), cos, sin, position, 1, layout);
      EXPECT_LE(difference(out.view({4}), vector_of(one.at("expected").at(name))), 1e-6) << name;
    };
    expect(RopeLayout::HalfSplit, "half_split");
    expect(RopeLayout::Interleaved, "interleaved");
  }
}

TEST(Rope, LeavesTheLastHeadsAndTheEndOfEachHeadAlone) {
  const auto [cos, sin] = tables(4);
  const auto positions = at::tensor({5, 6}, at::kLong);
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto x = numbers({2, 3, 6}, 0).to(type);
    for (const auto layout : kLayouts) {
      const auto out = rope(x, cos, sin, positions, 2, layout);
      EXPECT_TRUE(at::equal(out.select(1, 2), x.select(1, 2)));
      EXPECT_TRUE(at::equal(out.narrow(2, 4, 2), x.narrow(2, 4, 2)));
      // What turns does as in a head of its size alone.
      EXPECT_TRUE(at::equal(out.narrow(2, 0, 4),
                            rope(x.narrow(2, 0, 4).contiguous(), cos, sin, positions, 2, layout)));
      EXPECT_FALSE(at::allclose(out.narrow(1, 0, 2), x.narrow(1, 0, 2)));
    }
  }
}

TEST(Rope, GradientsAreThoseOfDifferences) {
  const auto positions = at::tensor({5, 0}, at::kLong);
  for (const auto layout : kLayouts) {
    for (const int64_t rotated : {4, 6}) {
      const auto [cos, sin] = tables(rotated);
      expect_gradients([&](const auto& in) { return rope(in[0], cos, sin, positions, 2, layout); },
                       {numbers({2, 3, 6}, 0)});
    }
  }
}

TEST(Rope, RefusesMorePairsThanAHeadHas) {
  const auto [cos, sin] = tables(6);
  EXPECT_THROW(rope(numbers({1, 1, 4}, 0), cos, sin, at::tensor({0}, at::kLong), 1), Error);
}

TEST(SplitHeads, GradientsAreThoseOfDifferences) {
  expect_gradients(
      [](const auto& in) {
        const auto [q, k, v] = split_heads(in[0], 2, 1);
        return at::cat({q * 2, k * 3, v * k}, 1);
      },
      {numbers({2, 4, 3}, 0)});
}

TEST(TokenLogprobs, AreThoseOfTheExampleOfTheSpecWithGradients) {
  const auto& one = spec_example("token_logprob_entropy");
  // A head of ones on the diagonal makes the hidden states the logits.
  const auto logits = matrix_of(one.at("inputs").at("logits")).requires_grad_(true);
  const auto targets = at::tensor(one.at("inputs").at("targets").get<std::vector<int64_t>>(), at::kLong);
  const auto result = token_logprobs(logits, at::eye(4, at::kDouble), targets, {.temperature = 0.7});
  EXPECT_TRUE(at::allclose(result.logprobs, vector_of(one.at("expected").at("logp")), 0, 1e-9));
  EXPECT_TRUE(at::allclose(result.entropy, vector_of(one.at("expected").at("entropy")), 0, 1e-9));
  result.logprobs.sum().backward();
  EXPECT_TRUE(
      at::allclose(logits.grad(), matrix_of(one.at("expected").at("grad_sum_logp_wrt_logits")), 0, 1e-9));
  logits.mutable_grad().reset();
  token_logprobs(logits, at::eye(4, at::kDouble), targets, {.temperature = 0.7}).entropy.sum().backward();
  EXPECT_TRUE(
      at::allclose(logits.grad(), matrix_of(one.at("expected").at("grad_sum_entropy_wrt_logits")), 0, 1e-9));
}

TEST(TokenLogprobs, GradientsAreThoseOfDifferences) {
  const auto targets = at::tensor({2, 0, 6, 2}, at::kLong);
  for (const auto& options : {LogitOptions{.temperature = 0.6}, LogitOptions{.soft_cap = 0.8},
                              LogitOptions{.temperature = 1.7, .soft_cap = 1.1}}) {
    expect_gradients([&](const auto& in) { return token_logprobs(in[0], in[1], targets, options).logprobs; },
                     {numbers({4, 3}, 0), numbers({7, 3}, 1)});
    expect_gradients(
        [&](const auto& in) {
          const auto out = token_logprobs(in[0], in[1], targets, options);
          return out.entropy * 2 + out.logprobs;
        },
        {numbers({4, 3}, 0), numbers({7, 3}, 1)});
  }
}

TEST(TokenLogprobs, AreThoseOfTheCappedAndTemperedLogits) {
  const auto hidden = numbers({4, 3}, 0) * 5, head = numbers({7, 3}, 1);
  const auto targets = at::tensor({2, 0, 6, 2}, at::kLong);
  const LogitOptions options{.temperature = 0.6, .soft_cap = 2.0};
  const auto expected = ((at::mm(hidden, head.t()) / 2.0).tanh() * 2.0 / 0.6).log_softmax(1);
  for (const auto type : {at::kDouble, at::kFloat}) {
    const double tolerance = type == at::kDouble ? 1e-12 : 1e-5;
    const auto x = hidden.to(type), weight = head.to(type);
    EXPECT_LE(difference(scaled_logits(x, weight, options).log_softmax(1), expected), tolerance);
    EXPECT_LE(difference(token_logprobs(x, weight, targets, options).logprobs,
                         expected.gather(1, targets.unsqueeze(1)).squeeze(1)),
              tolerance);
  }
}

TEST(TokenLogprobs, WidenAStoredHeadAndGiveItNoGradient) {
  const auto head = numbers({7, 3}, 1).to(at::kBFloat16), wide = head.to(at::kFloat);
  const auto targets = at::tensor({2, 0, 6, 2}, at::kLong);
  const auto gradient = [&](const Tensor& weight) {
    const auto hidden = numbers({4, 3}, 0).to(at::kFloat).requires_grad_(true);
    token_logprobs(hidden, weight, targets, {}).logprobs.sum().backward();
    return hidden.grad();
  };
  EXPECT_TRUE(at::equal(gradient(head), gradient(wide)));
  EXPECT_TRUE(at::equal(gradient(wide), gradient(wide.clone().requires_grad_(true))));
}

// Logits of -50 to 50 of weights stored in bfloat16: what comes out is float32, near what float64 gives.
TEST(TokenLogprobs, OfAHeadInBfloat16AreNearThoseOfFloat64) {
  const int64_t rows = 40, vocab = 200;
  const auto head = numbers({vocab, 3}, 1).to(at::kBFloat16);
  const auto logits = at::mm(numbers({rows, 3}, 0), head.to(at::kDouble).t());
  const auto hidden = (numbers({rows, 3}, 0) * (50.0 / logits.abs().max())).to(at::kFloat);
  const auto targets = at::arange(rows, at::kLong) * 5;
  const auto result = token_logprobs(hidden, head, targets, {});
  EXPECT_EQ(result.logprobs.scalar_type(), at::kFloat);
  const auto expected = at::mm(hidden.to(at::kDouble), head.to(at::kDouble).t()).log_softmax(1);
  EXPECT_LE(difference(result.logprobs, expected.gather(1, targets.unsqueeze(1)).squeeze(1)), 1e-4);
}

TEST(TokenLogprobs, ManyChunksGiveWhatOneGives) {
  const int64_t rows = 150, vocab = 40000;  // chunks of 64 rows
  const auto hidden = numbers({rows, 4}, 0).to(at::kFloat).requires_grad_(true);
  const auto head = numbers({vocab, 4}, 1).to(at::kFloat).requires_grad_(true);
  const auto targets = at::arange(rows, at::kLong) * 7;
  const auto result = token_logprobs(hidden, head, targets, {.temperature = 1.3});
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

TEST(TokenLogprobs, SayWhetherATokenIsTheLikeliest) {
  // Second best; best; the last two share the first place.
  const auto logits = at::tensor({1.0, 3.0, 2.0, 1.0, 3.0, 2.0, 4.0, 0.0, 4.0}, at::kDouble).view({3, 3});
  const auto targets = at::tensor({2, 1, 2}, at::kLong);
  const auto expected = at::tensor({0, 1, 1}, at::kLong).to(at::kBool);
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto hidden = logits.to(type), head = at::eye(3, type);
    EXPECT_TRUE(at::equal(token_logprobs(hidden, head, targets, {}).is_top, expected));
    const auto trained = token_logprobs(hidden.clone().requires_grad_(true), head, targets, {});
    EXPECT_TRUE(at::equal(trained.is_top, expected));
    EXPECT_FALSE(trained.is_top.requires_grad());
  }
}

TEST(TokenLogprobs, RefuseATemperatureOfZero) {
  EXPECT_THROW(
      token_logprobs(at::zeros({1, 2}), at::zeros({3, 2}), at::tensor({0}, at::kLong), {.temperature = 0.0}),
      Error);
}

// Logits 3, 1, 5 and 2, 2, -1: means 3 and 1; half of both at a temperature of 2.
TEST(MeanLogits, AreTheMeanOfEachRowOverTheVocabulary) {
  const auto hidden = at::tensor({1.0, 2.0, 2.0, 0.0}, at::kDouble).view({2, 2}).requires_grad_(true);
  const auto head = at::tensor({1.0, 1.0, 1.0, 0.0, -0.5, 2.75}, at::kDouble).view({3, 2});
  const auto means = mean_logits(hidden, head, {});
  EXPECT_LE(difference(means, at::tensor({3.0, 1.0}, at::kDouble)), 1e-12);
  EXPECT_FALSE(means.requires_grad());
  EXPECT_LE(difference(mean_logits(hidden, head, {.temperature = 2.0}), means / 2), 1e-12);
  EXPECT_LE(difference(mean_logits(hidden.to(at::kFloat), head.to(at::kBFloat16), {}), means), 1e-6);
  // The cap bounds each of them before their mean is taken: 2 tanh(3 / 2) and so on.
  const double capped = 2 * (std::tanh(1.5) + std::tanh(0.5) + std::tanh(2.5)) / 3;
  EXPECT_NEAR(mean_logits(hidden, head, {.soft_cap = 2.0})[0].item<double>(), capped, 1e-12);
}

TEST(MeanLogits, OfManyChunksAreThoseOfOne) {
  const auto hidden = numbers({150, 4}, 0).to(at::kFloat), head = numbers({40000, 4}, 1).to(at::kFloat);
  const LogitOptions options{.temperature = 1.3, .soft_cap = 1.5};
  EXPECT_LE(difference(mean_logits(hidden, head, options), scaled_logits(hidden, head, options).mean(1)),
            1e-6);
}

TEST(LogSumExp, DoesNotOverflow) {
  const auto lse = log_sum_exp(at::tensor({1000.0f, 1000.0f, -1000.0f, -1000.0f}).view({2, 2}));
  EXPECT_NEAR(lse[0].item<double>(), 1000 + std::log(2.0), 1e-4);
  EXPECT_NEAR(lse[1].item<double>(), -1000 + std::log(2.0), 1e-4);
}

TEST(LogSumExp, AndTheCapLetNoNumberThatIsNoneGetLost) {
  auto z = at::zeros({2, 40});
  z[0][3] = std::nan("");
  z[1][39] = std::nan("");
  EXPECT_TRUE(log_sum_exp(z).isnan().all().item<bool>());
  const auto capped = scaled_logits(z, at::eye(40), {.soft_cap = 2.0});
  EXPECT_TRUE(log_sum_exp(capped).isnan().all().item<bool>());
}

}  // namespace
}  // namespace sluice::model
