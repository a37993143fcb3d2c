#include "model/draw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/philox.h"
#include "model/kernels/kernels.h"

namespace sluice::model {
namespace {

using cpu::InstructionSet;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

template <class F>
void for_each_instruction_set(F f) {
  for (const auto set : {InstructionSet::Narrow, InstructionSet::Avx2, InstructionSet::Avx512}) {
    if (!cpu::has(set)) continue;
    SCOPED_TRACE("instruction set " + std::to_string(static_cast<int>(set)));
    cpu::use_kernels(set);
    f();
  }
}

double uniform_of(uint64_t stream, int64_t i) {
  return random_uniform(/*seed=*/11, RandomUse::Data, stream, static_cast<uint64_t>(i), 0);
}

// Bell-shaped, in steps of 1/64, so that many are equal; every eleventh is -inf.
std::vector<float> some_logits(int64_t vocab, double spread) {
  std::vector<float> logits;
  for (int64_t i = 0; i < vocab; ++i) {
    double z = -1.5;
    for (uint64_t part = 0; part < 3; ++part) z += uniform_of(part, i);
    const auto logit = static_cast<float>(std::round(z * 2 * spread * 64) / 64);
    logits.push_back(i % 11 == 10 ? -kInfinity : logit);
  }
  return logits;
}

// The distribution by the book, in float64 and by sorting.
struct Exact {
  std::vector<double> probs;  // of the full softmax after temperature
  std::vector<bool> kept;
  double kept_mass = 0;
  // Probability of the last token that top-p kept, where it is so small that rounding may add or spare one
  // such.
  double last_kept = 0;
};

Exact exactly(const std::vector<float>& logits, const DrawOptions& options) {
  const auto vocab = logits.size();
  std::vector<float> z(vocab);
  for (size_t v = 0; v < vocab; ++v) z[v] = logits[v] / static_cast<float>(options.temperature);
  const double top = *std::max_element(z.begin(), z.end());
  Exact exact{.probs = std::vector<double>(vocab), .kept = std::vector<bool>(vocab, true)};
  for (size_t v = 0; v < vocab; ++v) exact.probs[v] = std::exp(z[v] - top);
  for (size_t v = 0; v < vocab; ++v) exact.kept[v] = exact.probs[v] >= options.min_p;
  const double total = std::accumulate(exact.probs.begin(), exact.probs.end(), 0.0);
  for (double& prob : exact.probs) prob /= total;

  std::vector<size_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return z[a] > z[b]; });
  if (options.top_k > 0 && static_cast<size_t>(options.top_k) < vocab) {
    const float kth = z[order[static_cast<size_t>(options.top_k) - 1]];
    for (size_t v = 0; v < vocab; ++v) exact.kept[v] = exact.kept[v] && z[v] >= kth;
  }
  double left = 0, sum = 0;
  for (size_t v = 0; v < vocab; ++v) left += exact.kept[v] ? exact.probs[v] : 0;
  for (const size_t v : order) {
    if (!exact.kept[v]) continue;
    exact.kept[v] = exact.kept_mass == 0 || options.top_p == 1 || sum < options.top_p * left;
    sum += exact.probs[v];
    if (!exact.kept[v]) continue;
    exact.kept_mass += exact.probs[v];
    exact.last_kept = options.top_p < 1 && exact.probs[v] < 1e-3 ? exact.probs[v] : 0;
  }
  return exact;
}

// Whether a draw by this number is one by inverse CDF, but for rounding.
void expect_drawn(const Draw& draw, double uniform, const Exact& exact) {
  const double slack = 4e-6 + exact.last_kept / exact.kept_mass;
  const auto token = static_cast<size_t>(draw.token);
  double before = 0;
  for (size_t v = 0; v < token; ++v) before += exact.kept[v] ? exact.probs[v] : 0;
  EXPECT_GT(exact.probs[token], 0);
  EXPECT_TRUE(exact.kept[token] || exact.probs[token] <= exact.last_kept) << token;
  EXPECT_LE(before / exact.kept_mass, uniform + slack);
  EXPECT_GE((before + exact.probs[token]) / exact.kept_mass, uniform - slack);
  EXPECT_NEAR(draw.logprob, std::log(exact.probs[token]), 4e-6 * std::max(1.0, std::abs(draw.logprob + 0.0)));
  EXPECT_NEAR(draw.kept_mass, exact.kept_mass, 2e-6 + exact.last_kept);
}

class DrawOfVocabulary : public testing::TestWithParam<int64_t> {};

TEST_P(DrawOfVocabulary, FollowsTheExactDistribution) {
  const int64_t vocab = GetParam();
  const std::vector<DrawOptions> cases = {{},
                                          {.temperature = 0.7},
                                          {.temperature = 3},
                                          {.top_k = 1},
                                          {.top_k = 50},
                                          {.top_k = vocab / 2},
                                          {.top_k = vocab},
                                          {.top_p = 1e-6},
                                          {.top_p = 0.5},
                                          {.top_p = 0.9},
                                          {.top_p = 0.999},
                                          {.min_p = 0.03},
                                          {.min_p = 1},
                                          {.temperature = 1.3, .min_p = 0.01, .top_k = 40, .top_p = 0.8}};
  for (const double spread : {0.05, 2.0, 20.0}) {
    const auto logits = some_logits(vocab, spread);
    for (size_t c = 0; c < cases.size(); ++c) {
      SCOPED_TRACE("spread " + std::to_string(spread) + ", case " + std::to_string(c));
      const auto exact = exactly(logits, cases[c]);
      for_each_instruction_set([&] {
        DrawScratch scratch;
        for (int64_t i = 0; i < 12; ++i) {
          const double uniform = i == 0 ? 0 : i == 1 ? 1 - 0x1p-53 : uniform_of(c + 10, i);
          auto row = logits;
          const auto draw = draw_token(row, uniform, cases[c], scratch);
          ASSERT_TRUE(draw.has_value());
          expect_drawn(*draw, uniform, exact);
        }
      });
    }
  }
}

TEST_P(DrawOfVocabulary, HasTheLogSumExpOfTheLearnerToTheBit) {
  const auto logits = some_logits(GetParam(), 4);
  for_each_instruction_set([&] {
    for (const DrawOptions& options :
         {DrawOptions{}, DrawOptions{.temperature = 0.7}, DrawOptions{.temperature = 0.7, .top_p = 0.5}}) {
      auto z = logits;
      if (options.temperature != 1) {
        for (float& number : z) number /= static_cast<float>(options.temperature);
      }
      cpu::LogitSums sums;
      cpu::kernels().add_logits(z.data(), 1, GetParam(), &sums);
      const float lse = cpu::log_sum_exp(sums);
      EXPECT_EQ(sums.top, *std::ranges::max_element(z));

      auto row = logits;
      DrawScratch scratch;
      const auto draw = draw_token(row, 0.4, options, scratch);
      ASSERT_TRUE(draw.has_value());
      EXPECT_EQ(draw->logprob, z[static_cast<size_t>(draw->token)] - lse);
    }
  });
}

// Where a vector ends, where a block ends, and vocabularies as they are.
INSTANTIATE_TEST_SUITE_P(Vocabularies, DrawOfVocabulary,
                         testing::Values(1, 7, 16, 511, 512, 513, 1000, 4096, 32768));

TEST(Draw, IsTheSameOnProcessorsOfDifferentWidth) {
  if (!cpu::has(InstructionSet::Avx512)) GTEST_SKIP() << "needs AVX-512";
  const auto logits = some_logits(1000, 3);
  for (const DrawOptions& options :
       {DrawOptions{.temperature = 0.9}, DrawOptions{.top_k = 20, .top_p = 0.9}}) {
    for (int64_t i = 0; i < 50; ++i) {
      Draw draws[2];
      for (const auto set : {InstructionSet::Avx2, InstructionSet::Avx512}) {
        cpu::use_kernels(set);
        DrawScratch scratch;
        auto row = logits;
        draws[set == InstructionSet::Avx512 ? 1 : 0] =
            draw_token(row, uniform_of(9, i), options, scratch).value();
      }
      EXPECT_EQ(draws[0].token, draws[1].token);
      EXPECT_EQ(draws[0].logprob, draws[1].logprob);
      EXPECT_EQ(draws[0].kept_mass, draws[1].kept_mass);
    }
  }
}

TEST(Draw, NeverTakesWhatHasNoProbability) {
  for_each_instruction_set([] {
    DrawScratch scratch;
    for (const DrawOptions& options :
         {DrawOptions{}, DrawOptions{.top_p = 0.999999}, DrawOptions{.top_k = 1500}}) {
      for (const double uniform : {0.0, 0.5, 1 - 0x1p-53}) {
        // Two tokens in the middle; before and behind them nothing, masked or a hundred below.
        std::vector<float> row(2000, -kInfinity);
        for (size_t v = 0; v < row.size(); v += 3) row[v] = -100;
        row[700] = row[1300] = 0;
        EXPECT_EQ(draw_token(row, uniform, options, scratch)->token, uniform < 0.5 ? 700 : 1300);
      }
    }
  });
}

TEST(Draw, OfEqualsKeepsTheLowerIdsByTopPAndAllByTopK) {
  DrawScratch scratch;
  int32_t highest = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    std::vector<float> row(1000, 2.5f);
    const auto by_top_p = draw_token(row, (static_cast<double>(i) + 0.5) / 1000, {.top_p = 0.2495}, scratch);
    EXPECT_FLOAT_EQ(by_top_p->kept_mass, 0.25f);
    highest = std::max(highest, by_top_p->token);
    std::fill(row.begin(), row.end(), 2.5f);
    const auto by_top_k = draw_token(row, (static_cast<double>(i) + 0.5) / 1000, {.top_k = 3}, scratch);
    EXPECT_EQ(by_top_k->token, i);
    EXPECT_EQ(by_top_k->kept_mass, 1);
  }
  EXPECT_EQ(highest, 249);
}

TEST(Draw, IsGreedyByTheLowestIdAmongEquals) {
  DrawScratch scratch;
  for_each_instruction_set([&] {
    for (const size_t first : {0, 15, 511, 512, 1023, 1099}) {
      std::vector<float> row(1100, 1.0f);
      row[first] = row[1099] = 3;
      const auto draw = draw_token(row, 0.99, {.temperature = 9e-6, .top_k = 1, .top_p = 0.1}, scratch);
      EXPECT_EQ(draw->token, static_cast<int32_t>(first));
      const double others = first == 1099 ? 1099 : 1098;  // all but those at 3
      EXPECT_NEAR(draw->logprob, -std::log((1100 - others) + others * std::exp(-2.0)),
                  2e-6);  // at temperature 1
      EXPECT_EQ(draw->kept_mass, 1);
    }
  });
}

TEST(Draw, IsNothingWhereALogitIsNotFinite) {
  DrawScratch scratch;
  for_each_instruction_set([&] {
    for (const float wrong : {std::nanf(""), kInfinity}) {
      for (size_t at = 0; at < 600; at += at % 2 == 0 ? 1 : 6) {
        for (const double temperature : {0.0, 0.5, 1.0}) {
          std::vector<float> row(600, at % 4 == 0 ? -kInfinity : 1.0f);
          row[at] = wrong;
          EXPECT_FALSE(draw_token(row, 0.5, {.temperature = temperature}, scratch)) << wrong << " at " << at;
        }
      }
    }
    std::vector<float> nothing(600, -kInfinity);
    EXPECT_FALSE(draw_token(nothing, 0.5, {}, scratch));
  });
}

TEST(Draw, AllocatesOnceForAVocabulary) {
  const DrawOptions options{.min_p = 1e-9, .top_k = 900, .top_p = 0.9};
  DrawScratch scratch;
  auto row = some_logits(1000, 1);
  draw_token(row, 0.1, options, scratch);
  const std::vector<const void*> first = {scratch.blocks.data(), scratch.logits.data(),
                                          scratch.masses.data(), scratch.order.data(),
                                          scratch.ids.data(),    scratch.members.data()};
  for (int64_t i = 0; i < 20; ++i) {
    row = some_logits(1000, 0.1 * static_cast<double>(i));
    draw_token(row, uniform_of(8, i), options, scratch);
    EXPECT_EQ(first,
              (std::vector<const void*>{scratch.blocks.data(), scratch.logits.data(), scratch.masses.data(),
                                        scratch.order.data(), scratch.ids.data(), scratch.members.data()}));
  }
}

TEST(Draw, IsTheSameOnSeveralThreads) {
  const auto logits = some_logits(4096, 3);
  const auto draws = [&] {
    DrawScratch scratch;
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < 200; ++i) {
      auto row = logits;
      tokens.push_back(draw_token(row, uniform_of(7, i), {.top_p = i % 2 == 0 ? 1 : 0.9}, scratch)->token);
    }
    return tokens;
  };
  std::vector<int32_t> there;
  std::jthread([&] { there = draws(); }).join();
  EXPECT_EQ(draws(), there);
}

}  // namespace
}  // namespace sluice::model
