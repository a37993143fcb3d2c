#include "actors/sampler.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/spec_example.h"

namespace sluice::actors {
namespace {

// Rows of these logits, as hidden states and a head that give them.
struct Logits {
  explicit Logits(const std::vector<double>& logits, int64_t rows = 1)
      : hidden(at::ones({rows, 1})), head(at::tensor(logits, at::kDouble).to(at::kFloat).unsqueeze(1)) {}
  at::Tensor hidden, head;
};

std::vector<DrawKey> keys_of(int64_t n, uint64_t seed = 5) {
  std::vector<DrawKey> keys;
  for (int64_t i = 0; i < n; ++i)
    keys.push_back({.seed = seed, .group = 3, .sample = i % 8, .position = i / 8});
  return keys;
}

std::vector<SampledToken> sample(const std::vector<double>& logits, int64_t n,
                                 const buffers::SamplingParams& params) {
  const Logits rows(logits, n);
  return sample_tokens(rows.hidden, rows.head, keys_of(n), params);
}

std::vector<double> frequencies(const std::vector<SampledToken>& drawn, size_t vocab) {
  std::vector<double> counts(vocab);
  for (const auto& one : drawn)
    counts[static_cast<size_t>(one.token)] += 1.0 / static_cast<double>(drawn.size());
  return counts;
}

// Pearson's statistic of the draws against these probabilities; what must not occur must not have occurred.
double chi_square(const std::vector<SampledToken>& drawn, const std::vector<double>& probs) {
  const auto seen = frequencies(drawn, probs.size());
  double sum = 0;
  for (size_t v = 0; v < probs.size(); ++v) {
    if (probs[v] == 0) {
      EXPECT_EQ(seen[v], 0) << "token " << v;
      continue;
    }
    sum += (seen[v] - probs[v]) * (seen[v] - probs[v]) / probs[v];
  }
  return sum * static_cast<double>(drawn.size());
}

std::vector<double> logs(const std::vector<double>& probs) {
  std::vector<double> logits;
  for (const double prob : probs) logits.push_back(std::log(prob));
  return logits;
}

TEST(Sampler, FollowsThePipelineOfTheSpecification) {
  // The example has penalties before, which the logits it names have behind them, and a min-p of 0.05, which
  // drops the last token alone; top-k 4 drops that one too.
  const auto& example = spec_example("sampling_pipeline");
  const auto& expected = example.at("expected");
  const auto logits = expected.at("after_frequency_presence").get<std::vector<double>>();
  const auto probs = expected.at("final_probs_normative").get<std::vector<double>>();
  const auto& with = example.at("hyperparameters");
  const auto drawn = sample(logits, 20'000,
                            {.temperature = with.at("temperature").get<double>(),
                             .top_k = with.at("top_k").get<int64_t>(),
                             .top_p = with.at("top_p").get<double>()});

  EXPECT_LT(chi_square(drawn, probs), 13.8);  // 2 degrees of freedom, 0.1 %
  for (const auto& one : drawn) {
    if (one.token != 0) continue;
    EXPECT_NEAR(one.logprob, expected.at("full_softmax_temperature_logp_of_token_0").get<double>(), 1e-6);
    EXPECT_NEAR(one.logprob - std::log(one.kept_mass), expected.at("processed_logp_of_token_0").get<double>(),
                1e-6);
  }
}

TEST(Sampler, KeepsAsManyTokensOfTopPAsTheSpecification) {
  const auto& example = spec_example("sampling_top_p_counts");
  const auto probs = example.at("inputs").at("probs").get<std::vector<double>>();
  for (const double top_p : {0.3, 0.5, 1.0}) {
    const auto key = "top_p_" + std::string(top_p == 1.0 ? "1" : top_p == 0.3 ? "0.3" : "0.5") + "_kept";
    const auto kept = example.at("expected").at(key).get<size_t>();
    double mass = 0;
    for (size_t v = 0; v < kept; ++v) mass += probs[v];

    for (const auto& one : sample(logs(probs), 500, {.top_p = top_p})) {
      EXPECT_NEAR(one.kept_mass, mass, 1e-6);
      EXPECT_LT(static_cast<size_t>(one.token), kept);
      EXPECT_NEAR(one.logprob, std::log(probs[static_cast<size_t>(one.token)]), 1e-6);  // of the full softmax
    }
  }
}

TEST(Sampler, DrawsFromTheSoftmaxAfterTemperature) {
  // Squares of 1, 2, 3, 4 as weights at temperature 1, so 1 : 2 : 3 : 4 at temperature 2.
  const std::vector<double> logits = {0, std::log(4), std::log(9), std::log(16)};

  const auto drawn = sample(logits, 40'000, {.temperature = 2.0});

  EXPECT_LT(chi_square(drawn, {0.1, 0.2, 0.3, 0.4}), 16.3);  // 3 degrees of freedom, 0.1 %
  EXPECT_NEAR(drawn[0].logprob, std::log((drawn[0].token + 1) / 10.0), 1e-6);
  EXPECT_EQ(drawn[0].kept_mass, 1);
}

TEST(Sampler, KeepsAllThatTieAtTheKthLargest) {
  const auto drawn = sample({3, 1, 2, 2, 2, 0}, 4'000, {.top_k = 2});

  const double e = std::exp(1.0);
  EXPECT_LT(chi_square(drawn, {e / (e + 3), 0, 1 / (e + 3), 1 / (e + 3), 1 / (e + 3), 0}), 16.3);
}

TEST(Sampler, AppliesTopPToWhatTopKLeft) {
  // Of 0.4, 0.3 and 0.3 top-k 1 leaves the first alone, and 0.9 of that is the first again. Top-k 2 leaves
  // 4/7 and 3/7 (the tie is kept: 0.4, 0.3, 0.3): the first two reach 0.65.
  for (const auto& one : sample(logs({0.4, 0.3, 0.3}), 100, {.top_k = 1, .top_p = 0.9}))
    EXPECT_EQ(one.token, 0);
  for (const auto& one : sample(logs({0.4, 0.35, 0.2, 0.05}), 300, {.top_k = 2, .top_p = 0.6})) {
    EXPECT_LE(one.token,
              1);  // 0.4 / 0.75 is below 0.6, although 0.4 + 0.35 of the whole is needed to pass it
    EXPECT_NEAR(one.kept_mass, 0.75, 1e-6);
  }
  for (const auto& one : sample(logs({0.4, 0.35, 0.2, 0.05}), 300, {.top_k = 2, .top_p = 0.5})) {
    EXPECT_EQ(one.token, 0);  // 0.4 / 0.75 has reached 0.5; 0.4 of the whole has not
    EXPECT_NEAR(one.kept_mass, 0.4, 1e-6);
  }
}

TEST(Sampler, ATopKOfTheWholeVocabularyOrNoneIsOff) {
  for (const int64_t top_k : {0, 3, 9}) {
    const auto drawn = sample(logs({0.5, 0.3, 0.2}), 200, {.top_k = top_k});
    const auto plain = sample(logs({0.5, 0.3, 0.2}), 200, {});
    for (size_t i = 0; i < drawn.size(); ++i) EXPECT_EQ(drawn[i].token, plain[i].token);
    EXPECT_EQ(drawn[0].kept_mass, 1);
  }
}

TEST(Sampler, IsGreedyBelowATinyTemperature) {
  for (const double temperature : {0.0, 9e-6}) {
    const auto drawn = sample({1, 5, 2, 5, 0}, 3, {.temperature = temperature, .top_k = 1, .top_p = 0.1});
    for (const auto& one : drawn) {
      EXPECT_EQ(one.token, 1);  // the lowest of the two that tie
      const double sum = std::exp(-4.0) + 1 + std::exp(-3.0) + 1 + std::exp(-5.0);
      EXPECT_NEAR(one.logprob, -std::log(sum), 1e-6);  // at temperature 1
      EXPECT_EQ(one.kept_mass, 1);
    }
  }
}

TEST(Sampler, DrawsTheSameWhateverElseIsInTheBatch) {
  const auto logits = logs({0.1, 0.2, 0.3, 0.15, 0.25});
  const auto keys = keys_of(64);
  for (const auto& params : {buffers::SamplingParams{}, buffers::SamplingParams{.top_k = 3, .top_p = 0.8}}) {
    const Logits all(logits, 64), alone(logits);
    const auto together = sample_tokens(all.hidden, all.head, keys, params);
    for (size_t i = 0; i < keys.size(); ++i) {
      const auto one = sample_tokens(alone.hidden, alone.head, std::span(keys).subspan(i, 1), params);
      EXPECT_EQ(one[0].token, together[i].token);
      EXPECT_EQ(one[0].kept_mass, together[i].kept_mass);
    }
  }
}

TEST(Sampler, EachPartOfTheKeyNamesAnotherDraw) {
  const Logits rows(std::vector<double>(1000, 0.0), 5);
  const std::vector<DrawKey> keys = {{1, 2, 3, 4}, {9, 2, 3, 4}, {1, 9, 3, 4}, {1, 2, 9, 4}, {1, 2, 3, 9}};

  const auto drawn = sample_tokens(rows.hidden, rows.head, keys, {});

  std::set<int32_t> tokens;
  for (const auto& one : drawn) tokens.insert(one.token);
  EXPECT_EQ(tokens.size(), 5);  // of 1000 that are equally likely
}

TEST(Sampler, NamesTheRowWhoseLogitsAreNotFinite) {
  Logits rows({1, 2, 3}, 3);
  rows.hidden[1][0] = std::numeric_limits<float>::quiet_NaN();
  try {
    sample_tokens(rows.hidden, rows.head, keys_of(3), {});
    FAIL() << "sampled from NaN";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "sample_tokens: the logits of row 1 (group 3, sample 1, token 0) are not finite");
  }
  rows.hidden[1][0] = std::numeric_limits<float>::infinity();
  EXPECT_THROW(sample_tokens(rows.hidden, rows.head, keys_of(3), {.temperature = 0}), Error);
}

TEST(Sampler, ALogprobIsNeverPositive) {
  for (const auto& one : sample({80, -80, -80}, 50, {.temperature = 0.1, .top_p = 0.99})) {
    EXPECT_EQ(one.token, 0);
    EXPECT_EQ(one.logprob, 0);
    EXPECT_EQ(one.kept_mass, 1);
  }
}

}  // namespace
}  // namespace sluice::actors
