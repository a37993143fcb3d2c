#include "actors/sampler.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "model/operators.h"
#include "tests/base/temp_folder.h"
#include "tests/spec_example.h"

namespace sluice::actors {
namespace {

using buffers::SamplingParams;

// What comes before the token in a test.
struct Text {
  std::vector<int32_t> prompt, output;
};

std::vector<float> row_of(const std::vector<double>& logits) { return {logits.begin(), logits.end()}; }

DrawKey key_of(int64_t i) { return {.seed = 5, .group = 3, .sample = i % 8, .position = i / 8}; }

SampledToken sample_one(const std::vector<double>& logits, const DrawKey& key, const SamplingParams& params,
                        const Text& text = {}) {
  SamplerScratch scratch;
  auto row = row_of(logits);
  return sample_token(row, key, params, {text.prompt, text.output}, scratch);
}

std::vector<SampledToken> sample(const std::vector<double>& logits, int64_t n, const SamplingParams& params,
                                 const Text& text = {}) {
  SamplerScratch scratch;
  std::vector<SampledToken> drawn;
  for (int64_t i = 0; i < n; ++i) {
    auto row = row_of(logits);
    drawn.push_back(sample_token(row, key_of(i), params, {text.prompt, text.output}, scratch));
  }
  return drawn;
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

std::vector<double> softmax(const std::vector<double>& z) {
  const double top = *std::max_element(z.begin(), z.end());
  std::vector<double> probs;
  for (const double number : z) probs.push_back(std::exp(number - top));
  const double total = std::accumulate(probs.begin(), probs.end(), 0.0);
  for (double& prob : probs) prob /= total;
  return probs;
}

// The distributions by the book: the full one, whose log-probs are recorded, and the one that is drawn from.
struct Pipeline {
  std::vector<double> full, kept;
};
Pipeline pipeline(std::vector<double> z, const SamplingParams& params, const Text& text) {
  for (const auto& [token, bias] : params.logit_bias) z[static_cast<size_t>(token)] += bias;
  for (size_t v = 0; v < z.size(); ++v) {
    const auto count = std::count(text.output.begin(), text.output.end(), v);
    if (count + std::count(text.prompt.begin(), text.prompt.end(), v) > 0) {
      z[v] = z[v] > 0 ? z[v] / params.repetition_penalty : z[v] * params.repetition_penalty;
    }
    z[v] -= params.frequency_penalty * static_cast<double>(count) + params.presence_penalty * (count > 0);
    z[v] /= params.temperature;
  }
  Pipeline both{.full = softmax(z)};
  both.kept = both.full;
  const auto drop = [&](auto condition) {
    for (double& prob : both.kept) prob = condition(prob) ? 0 : prob;
  };
  auto sorted = both.full;
  std::sort(sorted.rbegin(), sorted.rend());
  drop([&](double prob) { return prob < params.min_p * sorted[0]; });
  if (params.top_k > 0) {
    drop([&](double prob) { return prob < sorted[static_cast<size_t>(params.top_k) - 1]; });
  }
  std::erase_if(sorted,
                [&](double prob) { return std::count(both.kept.begin(), both.kept.end(), prob) == 0; });
  double sum = 0;
  const double wanted = params.top_p * std::accumulate(both.kept.begin(), both.kept.end(), 0.0);
  size_t last = 0;
  for (; last < sorted.size(); ++last) {
    sum += sorted[last];
    if (sum >= wanted) break;
  }
  drop([&](double prob) { return prob < sorted[std::min(last, sorted.size() - 1)]; });
  const double kept = std::accumulate(both.kept.begin(), both.kept.end(), 0.0);
  for (double& prob : both.kept) prob /= kept;
  return both;
}

// What chi-square exceeds once in a thousand times (Wilson and Hilferty 1931).
double critical(int64_t degrees) {
  const auto n = static_cast<double>(degrees);
  return n * std::pow(1 - 2 / (9 * n) + 3.09 * std::sqrt(2 / (9 * n)), 3);
}

TEST(Sampler, FollowsThePipelineOfTheSpecification) {
  const auto& example = spec_example("sampling_pipeline");
  const auto& in = example.at("inputs");
  const auto& with = example.at("hyperparameters");
  const auto& expected = example.at("expected");
  const SamplingParams params{.temperature = with.at("temperature"),
                              .top_k = with.at("top_k"),
                              .top_p = with.at("top_p"),
                              .min_p = with.at("min_p"),
                              .repetition_penalty = with.at("repetition_penalty"),
                              .frequency_penalty = with.at("frequency_penalty"),
                              .presence_penalty = with.at("presence_penalty")};
  const auto drawn =
      sample(in.at("logits"), 20'000, params, {in.at("prompt_tokens"), in.at("output_tokens")});

  EXPECT_LT(chi_square(drawn, expected.at("final_probs_normative")), critical(2));
  for (const auto& one : drawn) {
    if (one.token != 0) continue;
    EXPECT_NEAR(one.logprob, expected.at("full_softmax_temperature_logp_of_token_0").get<double>(), 1e-6);
    EXPECT_NEAR(one.logprob - std::log(one.kept_mass), expected.at("processed_logp_of_token_0").get<double>(),
                1e-6);
  }
}

TEST(Sampler, AppliesPenaltiesAsTheSpecification) {
  const auto& example = spec_example("sampling_pipeline");
  const Text text{example.at("inputs").at("prompt_tokens"), example.at("inputs").at("output_tokens")};
  const std::vector<double> logits = example.at("inputs").at("logits");
  const auto expect = [&](const SamplingParams& params, const std::string& key) {
    SamplerScratch scratch;
    auto row = row_of(logits);
    sample_token(row, {}, params, {text.prompt, text.output}, scratch);
    const auto expected = example.at("expected").at(key).get<std::vector<double>>();
    for (size_t v = 0; v < row.size(); ++v) EXPECT_NEAR(row[v], expected[v], 1e-6) << key << " " << v;
  };
  expect({.repetition_penalty = 1.2}, "after_repetition");
  expect({.repetition_penalty = 1.2, .frequency_penalty = 0.1, .presence_penalty = 0.2},
         "after_frequency_presence");
  expect({.temperature = 0.8, .repetition_penalty = 1.2, .frequency_penalty = 0.1, .presence_penalty = 0.2},
         "after_temperature");
}

TEST(Sampler, TwentyThousandDrawsFollowTheExactDistributionOfEachOption) {
  const std::vector<double> logits = {1.1, -0.4, 0.3, 0.9, -1.2, 0.05, 0.6, -0.7, 1.3, -0.9};
  const Text text{.prompt = {1, 3, 3, 4}, .output = {0, 0, 8, 0, 1, 6}};
  const std::vector<SamplingParams> cases = {
      {},
      {.temperature = 0.6},
      {.temperature = 2.5},
      {.top_k = 3},
      {.top_p = 0.8},
      {.min_p = 0.3},
      {.repetition_penalty = 1.6},
      {.repetition_penalty = 0.7},
      {.frequency_penalty = 0.5},
      {.frequency_penalty = -0.3},
      {.presence_penalty = 0.8},
      {.presence_penalty = -0.8},
      {.logit_bias = {{.token = 2, .bias = 1.5}, {.token = 8, .bias = -2}}},
      {.logit_bias = {{.token = 0, .bias = -100}}},
      {.top_k = 6, .top_p = 0.75},
      {.top_p = 0.9, .min_p = 0.2},
      {.temperature = 0.8,
       .top_k = 7,
       .top_p = 0.9,
       .min_p = 0.05,
       .repetition_penalty = 1.2,
       .frequency_penalty = 0.1,
       .presence_penalty = 0.2,
       .logit_bias = {{.token = 9, .bias = 2}}}};
  for (size_t c = 0; c < cases.size(); ++c) {
    SCOPED_TRACE(c);
    const auto exact = pipeline(logits, cases[c], text);
    const auto drawn = sample(logits, 20'000, cases[c], text);

    const auto kept =
        std::count_if(exact.kept.begin(), exact.kept.end(), [](double prob) { return prob > 0; });
    EXPECT_LT(chi_square(drawn, exact.kept), critical(kept - 1));
    for (const auto& one : drawn) {
      const auto token = static_cast<size_t>(one.token);
      ASSERT_NEAR(one.logprob, std::log(exact.full[token]), 2e-6);
      ASSERT_NEAR(one.kept_mass, exact.full[token] / exact.kept[token], 2e-6);
    }
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

TEST(Sampler, AppliesTopKAndTopPToWhatMinPLeft) {
  // Min-p 0.5 drops what is below 0.2. Of the 0.75 that is left top-p 0.6 wants 0.45, so both tokens; 0.5
  // wants 0.375, so the first alone, where half of the whole would want both.
  for (const auto& one : sample(logs({0.4, 0.35, 0.15, 0.1}), 300, {.top_k = 3, .top_p = 0.6, .min_p = 0.5}))
    EXPECT_NEAR(one.kept_mass, 0.75, 1e-6);
  for (const auto& one : sample(logs({0.4, 0.35, 0.15, 0.1}), 300, {.top_k = 3, .top_p = 0.5, .min_p = 0.5}))
    EXPECT_NEAR(one.kept_mass, 0.4, 1e-6);
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

TEST(Sampler, IsGreedyAfterBiasesAndPenalties) {
  const Text text{.output = {1}};
  EXPECT_EQ(sample_one({1, 2, 1.5}, {}, {.temperature = 0, .presence_penalty = 0.6}, text).token, 2);
  EXPECT_EQ(sample_one({1, 2, 1.5}, {}, {.temperature = 0, .logit_bias = {{.token = 0, .bias = 1.1}}}).token,
            0);
}

TEST(Sampler, ALogprobHasTheBitsOfTheLearners) {
  at::manual_seed(3);
  const auto hidden = at::randn({20, 32}), head = at::randn({700, 32});
  for (const double temperature : {1.0, 0.7}) {
    const auto logits = model::scaled_logits(hidden, head, {.soft_cap = 20.0}).contiguous();
    std::vector<SampledToken> drawn;
    SamplerScratch scratch;
    for (int64_t row = 0; row < 20; ++row) {
      const std::span<float> z(logits.mutable_data_ptr<float>() + row * 700, 700);
      drawn.push_back(sample_token(
          z, key_of(row), {.temperature = temperature, .top_p = row % 2 == 0 ? 1 : 0.9}, {}, scratch));
    }
    auto targets = at::empty({20}, at::kLong);
    for (int64_t row = 0; row < 20; ++row) targets[row] = drawn[static_cast<size_t>(row)].token;
    const auto learners =
        model::token_logprobs(hidden, head, targets, {.temperature = temperature, .soft_cap = 20.0}).logprobs;
    for (int64_t row = 0; row < 20; ++row)
      EXPECT_EQ(drawn[static_cast<size_t>(row)].logprob, learners[row].item<float>());
  }
}

TEST(Sampler, DrawsTheSameWhateverWasDrawnBefore) {
  const auto logits = logs({0.1, 0.2, 0.3, 0.15, 0.25});
  const Text text{.prompt = {4}, .output = {2, 2}};
  SamplerScratch scratch;
  for (int64_t i = 0; i < 64; ++i) {
    for (const SamplingParams& params :
         {SamplingParams{}, SamplingParams{.top_k = 3, .top_p = 0.8},
          SamplingParams{.repetition_penalty = 1.3, .frequency_penalty = 0.2}}) {
      auto row = row_of(logits);
      const auto behind_others = sample_token(row, key_of(i), params, {text.prompt, text.output}, scratch);
      const auto alone = sample_one(logits, key_of(i), params, text);
      EXPECT_EQ(behind_others.token, alone.token);
      EXPECT_EQ(behind_others.logprob, alone.logprob);
      EXPECT_EQ(behind_others.kept_mass, alone.kept_mass);
    }
    std::vector<float> other(1000 + static_cast<size_t>(i), 0.5f);
    sample_token(other, key_of(i), {.top_p = 0.5, .presence_penalty = 1}, {text.prompt, text.output},
                 scratch);
  }
}

TEST(Sampler, EachPartOfTheKeyNamesAnotherDraw) {
  const std::vector<double> equal(1000, 0.0);
  std::set<int32_t> tokens;
  for (const DrawKey& key :
       std::vector<DrawKey>{{1, 2, 3, 4}, {9, 2, 3, 4}, {1, 9, 3, 4}, {1, 2, 9, 4}, {1, 2, 3, 9}})
    tokens.insert(sample_one(equal, key, {}).token);
  EXPECT_EQ(tokens.size(), 5);  // of 1000 that are equally likely
}

TEST(Sampler, NamesTheDrawWhoseLogitsAreNotFinite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(message_of<Error>([] {
              sample_one({1, std::nan(""), 3}, key_of(17), {});
            }),
            "sample_token: the logits of group 3, sample 1, token 2 are not finite");
  EXPECT_THROW(sample_one({1, 2, kInfinity}, {}, {.temperature = 0}), Error);
  EXPECT_THROW(sample_one({-kInfinity, -kInfinity}, {}, {}), Error);
}

TEST(Sampler, ReadsWhatWasSeenOnlyForAPenalty) {
  const Text wrong{.prompt = {7}, .output = {-1}};
  EXPECT_NO_THROW(sample_one({1, 2, 3}, {}, {.top_k = 2}, wrong));
  EXPECT_EQ(message_of<Error>([&] {
              sample_one({1, 2, 3}, {}, {.presence_penalty = 1}, wrong);
            }),
            "sample_token: token 7 of a vocabulary of 3");
}

TEST(Sampler, RefusesOptionsThatMakeNoSense) {
  EXPECT_EQ(message_of<Error>([] {
              sample_one({1, 2}, {}, {.min_p = 2});
            }),
            "sample_token: min_p 2; it goes from 0 to 1");
  EXPECT_THROW(sample_one({1, 2}, {}, {.temperature = -1}), Error);
  EXPECT_THROW(sample_one({1, 2}, {}, {.temperature = std::nan("")}), Error);
  EXPECT_THROW(sample_one({1, 2}, {}, {.top_p = 0}), Error);
  EXPECT_THROW(sample_one({1, 2}, {}, {.logit_bias = {{.token = 2, .bias = 1}}}), Error);
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
