// The network against log-probs, greedy tokens and gradients that transformers computed for the same weights.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "base/json.h"
#include "model/model_directory.h"
#include "model/network.h"

namespace sluice::model {
namespace {

struct Golden {
  std::unique_ptr<Network> network;
  Json json;
};

Golden load(const std::string& name) {
  const std::filesystem::path directory = std::filesystem::path(SLUICE_SOURCE_DIR) / "data" / name;
  return {load_model(directory, at::kCPU), read_json(directory / "golden.json")};
}

std::vector<int32_t> all_tokens(const Json& one) {
  auto tokens = one.at("prompt").get<std::vector<int32_t>>();
  for (const auto token : one.at("tokens").get<std::vector<int32_t>>()) tokens.push_back(token);
  return tokens;
}

// Targets for every token but the first of a sequence that begins at `first_row`.
TokenTargets next_tokens(const std::vector<int32_t>& tokens, int64_t first_row = 0) {
  std::vector<int64_t> rows, targets;
  for (size_t i = 1; i < tokens.size(); ++i) {
    rows.push_back(first_row + static_cast<int64_t>(i) - 1);
    targets.push_back(tokens[i]);
  }
  return {at::tensor(rows, at::kLong), at::tensor(targets, at::kLong)};
}

class GoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, LogprobsAndGreedyTokensAreThoseOfTransformers) {
  const auto golden = load(GetParam());
  const at::NoGradGuard no_grad;
  for (const auto& one : golden.json.at("cases")) {
    const auto tokens = all_tokens(one);
    PackedBatchBuilder builder;
    builder.add(tokens);
    const auto batch = builder.build(at::kCPU);
    const auto logprobs = golden.network->logprobs(batch, next_tokens(tokens), 1.0).logprobs;
    auto expected = one.at("prompt_logprobs").get<std::vector<double>>();
    for (const auto value : one.at("logprobs").get<std::vector<double>>()) expected.push_back(value);
    ASSERT_EQ(logprobs.size(0), static_cast<int64_t>(expected.size()));
    EXPECT_LE((logprobs - at::tensor(expected)).abs().max().item<double>(), 1e-4);

    const auto prompt = one.at("prompt").size();
    const auto greedy = scaled_logits(golden.network->forward(batch), golden.network->head(), {}).argmax(1);
    for (size_t i = prompt; i < tokens.size(); ++i) {
      EXPECT_EQ(greedy[static_cast<int64_t>(i) - 1].item<int64_t>(), tokens[i]) << "token " << i;
    }
  }
}

TEST_P(GoldenTest, GradientNormsAreThoseOfTransformers) {
  const auto golden = load(GetParam());
  const auto& last = golden.json.at("cases").back();
  const auto tokens = all_tokens(last);
  PackedBatchBuilder builder;
  builder.add(tokens);
  const auto logprobs = golden.network->logprobs(builder.build(at::kCPU), next_tokens(tokens), 1.0).logprobs;
  const auto num_prompt = static_cast<int64_t>(last.at("prompt").size());
  (-logprobs.slice(0, num_prompt - 1).mean()).backward();  // of the completion alone
  if (const auto pad = golden.network->config().pad_id; pad && !golden.network->config().tie_embeddings) {
    golden.network->parameters()[0].tensor.grad()[*pad].zero_();  // transformers keeps that row fixed
  }
  for (const auto& [name, parameter] : golden.network->parameters()) {
    const auto expected = golden.json.at("gradient_norms_of_last_case").at(name).get<double>();
    EXPECT_NEAR(parameter.grad().norm().item<double>(), expected, 1e-4 * std::max(1.0, expected)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenTest,
                         testing::Values("goldens/llama", "goldens/llama3_rope", "toy_llama"),
                         [](const auto& info) {
                           std::string name = info.param;
                           for (char& c : name) c = c == '/' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace sluice::model
