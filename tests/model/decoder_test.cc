// What the kernels' own forward decodes has the bits of one pass with gradients, however it is cut up.
#include "model/decoder.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/philox.h"
#include "model/model_directory.h"
#include "tests/tiny_network.h"

namespace sluice::model {
namespace {

std::vector<int32_t> tokens_of(uint64_t sequence, size_t count, int64_t vocab) {
  std::vector<int32_t> tokens(count);
  for (size_t t = 0; t < count; ++t) {
    tokens[t] =
        static_cast<int32_t>(random_bits(9, RandomUse::Data, sequence, t) % static_cast<uint64_t>(vocab));
  }
  return tokens;
}

// Logits [tokens, vocab] of each sequence in one pass that keeps what its gradients need.
std::vector<at::Tensor> logits_of_one_pass(const Network& network,
                                           const std::vector<std::vector<int32_t>>& sequences) {
  PackedBatchBuilder builder;
  for (const auto& tokens : sequences) builder.add(tokens);
  const auto hidden = network.forward(builder.build(at::kCPU));
  const auto logits = network.scaled_logits(hidden, 1.0).detach();
  std::vector<at::Tensor> parts;
  int64_t row = 0;
  for (const auto& tokens : sequences) {
    parts.push_back(logits.narrow(0, row, std::ssize(tokens)));
    row += std::ssize(tokens);
  }
  return parts;
}

// Sequences that go on by some tokens each step, in pages that lie anywhere.
struct Sequences {
  std::vector<std::vector<int32_t>> tokens;
  std::vector<int64_t> cached;
  std::vector<std::vector<int32_t>> pages;

  explicit Sequences(std::vector<std::vector<int32_t>> the_tokens) : tokens(std::move(the_tokens)) {
    cached.resize(tokens.size());
    pages.resize(tokens.size());
    int32_t next = 0;
    for (size_t round = 0; round < 8; ++round) {
      for (auto& of_one : pages) of_one.push_back(next++);
    }
  }
};

void feed(Decoder& decoder, Sequences& all, const std::vector<std::pair<size_t, int64_t>>& counts,
          const std::vector<at::Tensor>& expected) {
  std::vector<DecodeSequence> step;
  for (const auto& [s, count] : counts) {
    step.push_back(
        {.tokens =
             std::span(all.tokens[s]).subspan(static_cast<size_t>(all.cached[s]), static_cast<size_t>(count)),
         .cached = all.cached[s],
         .pages = all.pages[s]});
  }
  std::vector<std::vector<float>> logits(step.size());
  decoder.step(step,
               [&](size_t i, int64_t, std::span<float> row) { logits[i].assign(row.begin(), row.end()); });
  for (size_t i = 0; i < counts.size(); ++i) {
    const auto [s, count] = counts[i];
    all.cached[s] += count;
    const auto wanted = expected[s][all.cached[s] - 1].contiguous();
    ASSERT_EQ(std::ssize(logits[i]), wanted.numel());
    EXPECT_TRUE(at::equal(at::tensor(logits[i]), wanted))
        << "sequence " << s << " after " << all.cached[s] << " tokens is off by "
        << (at::tensor(logits[i]) - wanted).abs().max().item<double>();
  }
}

class DecoderOfFamilies : public testing::TestWithParam<std::string> {};

TEST_P(DecoderOfFamilies, GivesTheBitsOfOnePassWhateverTheBatchThePagesAndTheThreads) {
  const auto directory = std::string(SLUICE_SOURCE_DIR) + "/data/" + GetParam();
  const auto learner = load_model(directory, at::kCPU), actor = load_model(directory, at::kCPU);
  actor->freeze();
  const int64_t vocab = learner->config().vocab_size;
  const std::vector<std::vector<int32_t>> tokens = {tokens_of(0, 40, vocab), tokens_of(1, 23, vocab),
                                                    tokens_of(2, 33, vocab), tokens_of(3, 70, vocab)};
  const auto expected = logits_of_one_pass(*learner, tokens);
  for (const int threads : {1, 2, 3}) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    const auto decoder = make_decoder(*actor, {.num_pages = 40, .threads = threads});
    ASSERT_TRUE(decoder->rows_are_independent());
    Sequences all(tokens);
    feed(*decoder, all, {{0, 17}}, expected);                   // one prompt, few rows: by columns
    feed(*decoder, all, {{1, 16}, {0, 1}, {2, 33}}, expected);  // prompts beside a token
    feed(*decoder, all, {{3, 61}, {0, 1}, {1, 1}}, expected);   // rows of one on several threads
    feed(*decoder, all, {{0, 1}, {1, 5}, {3, 2}}, expected);    // some at once
    for (int i = 0; i < 7; ++i) feed(*decoder, all, {{0, 1}, {3, 1}}, expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Goldens, DecoderOfFamilies,
                         testing::Values("toy_llama", "goldens/llama", "goldens/llama3_rope", "goldens/qwen2",
                                         "goldens/qwen3", "goldens/mistral", "goldens/gemma2",
                                         "goldens/gemma3"),
                         [](const auto& info) { return info.param.substr(info.param.rfind('/') + 1); });

TEST(Decoder, SharesPagesAndCopiesThem) {
  const auto network = load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  network->freeze();
  const int64_t vocab = network->config().vocab_size;
  auto one = tokens_of(0, 24, vocab), other = one;
  for (size_t t = 20; t < 24; ++t) other[t] = (other[t] + 1) % static_cast<int32_t>(vocab);
  const auto expected = logits_of_one_pass(*network, {one, other});
  for (const bool frozen : {true, false}) {
    const auto fresh = load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
    if (frozen) fresh->freeze();
    const auto decoder = make_decoder(*fresh, {.num_pages = 5});
    EXPECT_EQ(decoder->rows_are_independent(), frozen);
    const std::vector<int32_t> pages = {4, 2}, copied = {4, 0};
    const auto logits_of = [&](std::span<const int32_t> tokens, int64_t cached, std::span<const int32_t> in) {
      at::Tensor logits;
      const DecodeSequence sequence{.tokens = tokens, .cached = cached, .pages = in};
      decoder->step({&sequence, 1}, [&](size_t, int64_t, std::span<float> row) {
        logits = at::tensor(std::vector<float>(row.begin(), row.end()));
      });
      return logits;
    };
    logits_of(std::span(one).first(20), 0, pages);
    decoder->copy_page(2, 0);
    EXPECT_TRUE(at::allclose(logits_of(std::span(other).subspan(20), 20, copied), expected[1][23], 0, 1e-5));
    EXPECT_TRUE(at::allclose(logits_of(std::span(one).subspan(20), 20, pages), expected[0][23], 0, 1e-5));
  }
}

TEST(Decoder, GivesTheLogitsOfTheLastTokensThatWantThem) {
  const auto network = load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  const std::vector<std::vector<int32_t>> tokens = {tokens_of(0, 30, network->config().vocab_size),
                                                    tokens_of(1, 25, network->config().vocab_size)};
  const auto expected = logits_of_one_pass(*network, tokens);
  network->freeze();
  for (const int threads : {1, 2}) {
    const auto decoder = make_decoder(*network, {.num_pages = 4, .threads = threads});
    const std::vector<std::vector<int32_t>> pages = {{0, 1}, {2, 3}};
    const std::vector<int64_t> counts = {30, 3};
    std::vector<DecodeSequence> step;
    for (size_t s = 0; s < 2; ++s)
      step.push_back({.tokens = tokens[s], .pages = pages[s], .num_logits = counts[s]});
    std::vector<std::vector<at::Tensor>> logits{std::vector<at::Tensor>(30), std::vector<at::Tensor>(3)};
    decoder->step(step, [&](size_t s, int64_t i, std::span<float> row) {
      logits[s][static_cast<size_t>(i)] = at::tensor(std::vector<float>(row.begin(), row.end()));
    });
    for (size_t s = 0; s < 2; ++s) {
      for (int64_t i = 0; i < counts[s]; ++i) {
        const auto wanted = expected[s][std::ssize(tokens[s]) - counts[s] + i];
        EXPECT_TRUE(at::equal(logits[s][static_cast<size_t>(i)], wanted)) << "row " << i << " of " << s;
      }
    }
  }
}

TEST(Decoder, ComputesWithInt8WhatTheNetworkDoes) {
  const auto exact = load_model(SLUICE_SOURCE_DIR "/data/toy_llama", at::kCPU),
             network = load_model(SLUICE_SOURCE_DIR "/data/toy_llama", at::kCPU);
  network->round_products(Rounding::Int8);
  network->freeze();
  const std::vector<std::vector<int32_t>> tokens = {tokens_of(0, 40, network->config().vocab_size)};
  const auto expected = logits_of_one_pass(*network, tokens);
  const auto decoder = make_decoder(*network, {.num_pages = 40, .threads = 2});
  Sequences all(tokens);
  feed(*decoder, all, {{0, 33}}, expected);
  feed(*decoder, all, {{0, 1}}, expected);
  const auto difference = (logits_of_one_pass(*exact, tokens)[0] - expected[0]).abs();
  EXPECT_GT(difference.max().item<double>(), 0);
  EXPECT_LT(difference.mean().item<double>(), 0.05);
  EXPECT_THROW(tiny_mixtral()->round_products(Rounding::Int8), Error);
}

TEST(Decoder, LeavesOtherShapesToTheNetwork) {
  const auto experts = tiny_mixtral();
  experts->freeze();
  EXPECT_FALSE(make_decoder(*experts, {.num_pages = 1})->rows_are_independent());
}

TEST(Decoder, RefusesWhatDoesNotFit) {
  const auto network = load_model(SLUICE_SOURCE_DIR "/data/goldens/llama", at::kCPU);
  network->freeze();
  const auto decoder = make_decoder(*network, {.num_pages = 3});
  const auto step = [&](std::vector<int32_t> tokens, int64_t cached, std::vector<int32_t> pages) {
    const DecodeSequence sequence{.tokens = tokens, .cached = cached, .pages = pages};
    decoder->step({&sequence, 1}, [](size_t, int64_t, std::span<float>) {});
  };
  EXPECT_NO_THROW(step({1, 2}, 0, {2}));
  EXPECT_THROW(step({1, -1}, 0, {2}), Error);
  EXPECT_THROW(step({static_cast<int32_t>(network->config().vocab_size)}, 0, {2}), Error);
  EXPECT_THROW(step({1, 2}, 15, {2}), Error);  // 17 tokens in one page
  EXPECT_THROW(step({1, 2}, 0, {3}), Error);   // of 0, 1, 2
  EXPECT_THROW(step({}, 0, {2}), Error);
  EXPECT_THROW(make_decoder(*network, {.num_pages = 0}), Error);
}

}  // namespace
}  // namespace sluice::model
