// Attention against the formula, one query at a time, and its backward against central differences.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "model/internal/attention_plan.h"
#include "model/operators.h"
#include "tests/model/gradients.h"
#include "tests/spec_example.h"

namespace sluice::model {
namespace {

using at::Tensor;

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

TEST(Attention, SeesWhatThePackingExampleOfTheSpecAllows) {
  const auto& one = spec_example("packing");
  const auto lengths = one.at("inputs").at("sequence_lengths").get<std::vector<int64_t>>();
  const auto plan = make_attention_plan(batch_of(lengths, {-1, -1, -1}));
  const auto allowed = matrix_of(one.at("expected").at("attention_allowed")).to(at::kBool);
  const auto q = numbers({9, 4, 6}, 0), k = numbers({9, 2, 6}, 1), v = numbers({9, 2, 6}, 2);
  const AttentionOptions options{.scale = 0.4};
  EXPECT_TRUE(
      at::allclose(model::attention(q, k, v, plan, options), plain_attention(q, k, v, allowed, options)));
}

TEST(Attention, ACompletionSeesAllOfItsPrefixAndAWindowCountsFromTheQuery) {
  // Sequence 0 is the prefix of 1 and 2; 3 stands alone.
  const auto plan = make_attention_plan(batch_of({2, 3, 1, 2}, {-1, 0, 0, -1}));
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

// What kernels of a GPU get: sequences of any length end to end, whose last query sees the last key.
TEST(Attention, GatheredKeysAreThoseThatAreSeen) {
  const auto plan = make_attention_plan(batch_of({2, 3, 1, 2}, {-1, 0, 0, -1}));
  const auto q = numbers({8, 2, 4}, 0), k = numbers({8, 1, 4}, 1), v = numbers({8, 1, 4}, 2);
  const AttentionOptions options{.scale = 0.7};
  const auto& gathered = plan->gathered(at::kCPU);
  EXPECT_EQ(gathered.max_queries, 3);
  EXPECT_EQ(gathered.max_keys, 5);
  const auto keys = k.index_select(0, gathered.key_index), values = v.index_select(0, gathered.key_index);
  std::vector<Tensor> parts;
  for (int64_t s = 0; s + 1 < gathered.cum_queries.numel(); ++s) {
    const auto stretch = [s](const Tensor& of, const Tensor& ends) {
      const auto first = ends[s].item<int64_t>();
      return of.narrow(0, first, ends[s + 1].item<int64_t>() - first);
    };
    const auto queries = stretch(q, gathered.cum_queries);
    const auto own_keys = stretch(keys, gathered.cum_keys);
    const auto allowed =
        at::ones({queries.size(0), own_keys.size(0)}, at::kBool).tril(own_keys.size(0) - queries.size(0));
    parts.push_back(plain_attention(queries, own_keys, stretch(values, gathered.cum_keys), allowed, options));
  }
  EXPECT_TRUE(at::allclose(at::cat(parts), model::attention(q, k, v, plan, options)));
}

TEST(Attention, GradientsAreThoseOfDifferences) {
  const auto plan = make_attention_plan(batch_of({2, 3, 1}, {-1, 0, -1}));
  for (const auto& options : {AttentionOptions{.scale = 0.7}, AttentionOptions{.scale = 1.5, .soft_cap = 0.9},
                              AttentionOptions{.scale = 0.7, .window = 2},
                              AttentionOptions{.scale = 1.5, .window = 3, .soft_cap = 0.9}}) {
    for (const int64_t value_dim : {2, 3}) {
      expect_gradients([&](const auto& in) { return model::attention(in[0], in[1], in[2], plan, options); },
                       {numbers({6, 2, 2}, 0), numbers({6, 1, 2}, 1), numbers({6, 1, value_dim}, 2)});
    }
  }
}

TEST(Attention, ValuesMayBeOfAnotherWidthThanKeys) {
  const auto plan = make_attention_plan(batch_of({5}, {-1}));
  const auto allowed = at::ones({5, 5}, at::kBool).tril();
  const auto q = numbers({5, 4, 6}, 0), k = numbers({5, 2, 6}, 1), v = numbers({5, 2, 3}, 2);
  const AttentionOptions options{.scale = 0.4};
  EXPECT_TRUE(
      at::allclose(model::attention(q, k, v, plan, options), plain_attention(q, k, v, allowed, options)));
}

TEST(Attention, OneKeyHeadIsAllKeyHeadsAlike) {
  const auto plan = make_attention_plan(batch_of({3, 7}, {-1, -1}));
  for (const auto type : {at::kDouble, at::kFloat}) {
    const auto q = numbers({10, 4, 16}, 0).to(type), k = numbers({10, 1, 16}, 1).to(type),
               v = numbers({10, 1, 16}, 2).to(type);
    const auto of_heads = [&](int64_t heads) {
      return model::attention(q, k.repeat({1, heads, 1}), v.repeat({1, heads, 1}), plan, {.scale = 0.25});
    };
    // To the last bit where the kernels compute it; the library's products may add up in another order.
    const double tolerance = type == at::kFloat ? 0.0 : 1e-14;
    EXPECT_LE(difference(of_heads(1), of_heads(4)), tolerance);
    EXPECT_LE(difference(of_heads(2), of_heads(4)), tolerance);
  }
}

// x [rows, heads * width] as heads.
Tensor in_heads(const Tensor& x, int64_t heads) { return x.view({x.size(0), heads, -1}); }

// The example of the specification, up to what attention gets.
struct Latent {
  Json example = spec_example("mla_attention");
  Tensor weight(const char* name) const { return matrix_of(example.at("inputs").at(name)); }

  Tensor up_key = in_heads(weight("W_uk"), 1).view({2, 2, 3});    // [heads, nope, rank]
  Tensor up_value = in_heads(weight("W_uv"), 1).view({2, 2, 3});  // [heads, value, rank]
  Tensor q_nope, q_rope;                                          // [rows, heads, 2]
  Tensor cache;                                                   // [rows, 1, rank + 2]
  std::shared_ptr<const AttentionPlan> plan = make_attention_plan(batch_of({3}, {-1}));
  AttentionOptions options{.scale = 0.5};

  Latent() {
    const auto hidden = weight("hidden"), ones = at::ones({3}, at::kDouble);
    const auto angles = at::arange(3, at::kDouble).unsqueeze(1);  // the single frequency is 1
    const auto turned = [&](const Tensor& x) {
      return rope(x, angles.cos(), angles.sin(), at::arange(3, at::kLong), x.size(1),
                  RopeLayout::Interleaved);
    };
    const auto compressed = model::rms_norm(model::linear(hidden, weight("W_dq")), ones, 1e-6);
    const auto q = in_heads(model::linear(compressed, weight("W_uq")), 2);
    q_nope = q.narrow(2, 0, 2);
    q_rope = turned(q.narrow(2, 2, 2));
    const auto down = model::linear(hidden, weight("W_dkv"));
    cache = at::cat({model::rms_norm(down.narrow(1, 0, 3), ones, 1e-6).unsqueeze(1),
                     turned(down.narrow(1, 3, 2).unsqueeze(1))},
                    2);
  }

  // Keys and values of every head are made from the latent vectors.
  Tensor naive(const Tensor& q_nope_in, const Tensor& rows) const {
    const auto latent = rows.narrow(2, 0, 3).squeeze(1), shared = rows.narrow(2, 3, 2);
    const auto k_nope = in_heads(at::mm(latent, up_key.reshape({4, 3}).t()), 2);
    const auto v = in_heads(at::mm(latent, up_value.reshape({4, 3}).t()), 2);
    return model::attention(at::cat({q_nope_in, q_rope}, 2), at::cat({k_nope, shared.expand({-1, 2, -1})}, 2),
                            v, plan, options);
  }
  // One key head; values are views of the keys' memory.
  Tensor absorbed(const Tensor& q_nope_in, const Tensor& rows) const {
    const auto q = at::cat({at::einsum("rhd,hdc->rhc", {q_nope_in, up_key}), q_rope}, 2);
    const auto mixed = model::attention(q, rows, rows.narrow(2, 0, 3), plan, options);
    return at::einsum("rhc,hvc->rhv", {mixed, up_value});
  }
};

TEST(LatentAttention, NaiveAndAbsorbedAreTheExampleOfTheSpec) {
  const Latent latent;
  const auto& expected = latent.example.at("expected");
  EXPECT_LE(
      difference(latent.cache.squeeze(1),
                 at::cat({matrix_of(expected.at("cache_c_kv")), matrix_of(expected.at("cache_k_pe"))}, 1)),
      1e-6);
  for (const bool grad : {true, false}) {
    const at::AutoGradMode mode(grad);
    const auto cache = latent.cache.clone().requires_grad_(grad);
    for (const auto& heads : {latent.naive(latent.q_nope, cache), latent.absorbed(latent.q_nope, cache)}) {
      const auto out = model::linear(heads.reshape({3, 4}), latent.weight("W_o"));
      EXPECT_EQ(out.requires_grad(), grad);
      EXPECT_LE(difference(out.detach(), matrix_of(expected.at("output"))), 1e-6);
    }
  }
}

TEST(LatentAttention, GradientsAreThoseOfDifferences) {
  const Latent latent;
  const auto naive = [&](const auto& in) { return latent.naive(in[0], in[1]); };
  const auto absorbed = [&](const auto& in) { return latent.absorbed(in[0], in[1]); };
  expect_gradients(naive, {latent.q_nope.contiguous(), latent.cache.clone()});
  expect_gradients(absorbed, {latent.q_nope.contiguous(), latent.cache.clone()});
}

}  // namespace
}  // namespace sluice::model
