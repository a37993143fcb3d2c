// The actor's log-prob is the learner's, bit for bit: decoded with a cache, in batches that change from token
// to token, against one pass with gradients over all groups, their prompts shared.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include "actors/engine.h"
#include "base/philox.h"
#include "model/model_directory.h"

namespace sluice::actors {
namespace {

constexpr double kTemperature = 0.7;

std::vector<int32_t> prompt_of(uint64_t group, int64_t vocab) {
  std::vector<int32_t> prompt(1 + random_bits(1, RandomUse::Data, group, 0) % 20);
  for (size_t t = 0; t < prompt.size(); ++t) {
    prompt[t] =
        static_cast<int32_t>(random_bits(2, RandomUse::Data, group, t) % static_cast<uint64_t>(vocab));
  }
  return prompt;
}

std::vector<GenerationRequest> requests_for(const model::ModelConfig& config) {
  std::vector<GenerationRequest> requests;
  for (uint64_t group = 0; group < 6; ++group) {
    requests.push_back({.id = group,
                        .prompt = prompt_of(group, config.vocab_size),
                        .num_samples = 5,
                        .seed = 3,
                        .group = group,
                        .sampling = {.temperature = kTemperature,
                                     .top_p = 0.9,
                                     .max_new_tokens = static_cast<int64_t>(4 + 3 * group)}});
  }
  return requests;
}

struct Recorded {
  model::PackedBatch batch;
  model::TokenTargets targets;
  at::Tensor logprobs;
};

// What the actor wrote down, as the learner packs it.
Recorded decode(const model::Network& network) {
  const auto requests = requests_for(network.config());
  Engine engine(network, {}, {.max_rows = 7, .reproducible = false});
  for (const auto& request : requests) engine.submit(request);
  model::PackedBatchBuilder builder;
  std::vector<int64_t> rows, tokens;
  std::vector<float> logprobs;
  while (!engine.idle()) {
    for (const auto& result : engine.step(/*version=*/0)) {
      const auto& prompt = requests[result.id].prompt;
      const int64_t first = builder.add(prompt);
      for (const auto& completion : result.completions) {
        const int64_t sequence = builder.add(completion.tokens, first);
        for (int64_t t = 0; t < std::ssize(completion.tokens); ++t) {
          rows.push_back(t == 0 ? builder.row_of(first, std::ssize(prompt) - 1)
                                : builder.row_of(sequence, t - 1));
          tokens.push_back(completion.tokens[static_cast<size_t>(t)]);
          logprobs.push_back(completion.logprobs[static_cast<size_t>(t)]);
        }
      }
    }
  }
  return {builder.build(at::kCPU),
          {at::tensor(rows, at::kLong), at::tensor(tokens, at::kLong)},
          at::tensor(logprobs)};
}

class Match : public testing::TestWithParam<const char*> {};

TEST_P(Match, TheActorsLogprobsAreTheLearnersToTheLastBit) {
  const std::string directory = std::string(SLUICE_SOURCE_DIR) + "/data/" + GetParam();
  const auto actor = model::load_model(directory, at::kCPU), learner = model::load_model(directory, at::kCPU);
  actor->freeze();
  const auto recorded = decode(*actor);

  const auto computed = learner->logprobs(recorded.batch, recorded.targets, kTemperature).logprobs;

  ASSERT_TRUE(computed.requires_grad());
  ASSERT_EQ(computed.numel(), 5 * (4 + 7 + 10 + 13 + 16 + 19));
  EXPECT_TRUE(at::equal(computed.detach(), recorded.logprobs))
      << "off by " << (computed.detach() - recorded.logprobs).abs().max().item<double>();
}

class MatchRounded : public testing::TestWithParam<std::tuple<const char*, model::Rounding>> {};

TEST_P(MatchRounded, TheActorsLogprobsAreTheLearnersToTheLastBit) {
  const auto [folder, rounding] = GetParam();
  const std::string directory = std::string(SLUICE_SOURCE_DIR) + "/data/" + folder;
  const auto actor = model::load_model(directory, at::kCPU), learner = model::load_model(directory, at::kCPU),
             exact = model::load_model(directory, at::kCPU);
  for (auto* network : {actor.get(), learner.get(), exact.get()}) {
    const at::NoGradGuard no_grad;
    network->flat().mul_(1.01);  // some of the files hold bfloat16
  }
  for (auto* network : {actor.get(), learner.get()}) network->round_products(rounding);
  actor->freeze();
  const auto recorded = decode(*actor);

  const auto computed = learner->logprobs(recorded.batch, recorded.targets, kTemperature).logprobs;

  EXPECT_TRUE(computed.requires_grad());
  EXPECT_TRUE(at::equal(computed.detach(), recorded.logprobs))
      << "off by " << (computed.detach() - recorded.logprobs).abs().max().item<double>();
  const auto unrounded = exact->logprobs(recorded.batch, recorded.targets, kTemperature).logprobs;
  EXPECT_FALSE(at::equal(unrounded, computed));
}

constexpr const char* kFolders[] = {"toy_llama",      "goldens/llama", "goldens/llama3_rope",
                                    "goldens/qwen2",  "goldens/qwen3", "goldens/mistral",
                                    "goldens/gemma2", "goldens/gemma3"};

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

INSTANTIATE_TEST_SUITE_P(Families, Match, testing::ValuesIn(kFolders),
                         [](const auto& info) { return name_of(info.param); });

INSTANTIATE_TEST_SUITE_P(Families, MatchRounded,
                         testing::Combine(testing::ValuesIn(kFolders),
                                          testing::Values(model::Rounding::BFloat16,
                                                          model::Rounding::BFloat16Both,
                                                          model::Rounding::Float16Both)),
                         [](const auto& info) {
                           const auto rounding = std::get<1>(info.param);
                           return name_of(std::get<0>(info.param)) +
                                  (rounding == model::Rounding::BFloat16       ? "_weights"
                                   : rounding == model::Rounding::BFloat16Both ? "_both"
                                                                               : "_both_of_float16");
                         });

}  // namespace
}  // namespace sluice::actors
