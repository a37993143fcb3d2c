#include "model/scalar_head.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>

#include "base/error.h"
#include "base/files.h"
#include "model/model_directory.h"
#include "tests/base/temp_folder.h"
#include "tests/tiny_network.h"

namespace sluice::model {
namespace {

using Tokens = std::vector<int32_t>;
const std::filesystem::path kGoldens = std::filesystem::path(SLUICE_SOURCE_DIR) / "data/goldens";

at::Tensor last_score(const Network& network, const Tokens& tokens) {
  PackedBatchBuilder builder;
  builder.add(tokens);
  return network.scores(builder.build(at::kCPU), at::tensor({std::ssize(tokens) - 1}, at::kLong));
}

std::string refusal(const std::function<void()>& act) {
  try {
    act();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(ScalarHead, IsTheOnlyParameterThatThePolicyDoesNotHave) {
  const auto policy = tiny_network();
  const auto critic = with_scalar_head(*policy, /*seed=*/3);

  const auto& slots = critic->weights().slots();
  EXPECT_EQ(slots.back().name, "score.weight");
  EXPECT_EQ(slots.back().shape, (std::vector<int64_t>{1, 16}));
  EXPECT_TRUE(slots.back().is_head);
  EXPECT_EQ(slots.back().kind, ParameterKind::Matrix);
  ASSERT_EQ(slots.size(), policy->weights().slots().size());
  for (size_t i = 0; i + 1 < slots.size(); ++i) {
    EXPECT_EQ(slots[i].name, policy->weights().slots()[i].name);
    EXPECT_TRUE(at::equal(critic->parameters()[i].tensor, policy->parameters()[i].tensor)) << slots[i].name;
  }
}

TEST(ScalarHead, StartsNormalByItsSeed) {
  LlamaShape shape{.vocab_size = 5,
                   .hidden_size = 4000,
                   .intermediate_size = 2,
                   .num_layers = 1,
                   .num_heads = 1,
                   .num_kv_heads = 1,
                   .head_dim = 2};
  Network policy(llama_config(shape), at::kCPU);
  policy.init(1);
  const auto head = [&](uint64_t seed) {
    return with_scalar_head(policy, seed)->parameters().back().tensor.detach().clone();
  };
  EXPECT_TRUE(at::equal(head(1), head(1)));
  EXPECT_FALSE(at::equal(head(1), head(2)));
  const double std = 1.0 / std::sqrt(4001.0);
  EXPECT_NEAR(head(1).std().item<double>(), std, 0.05 * std);  // of 4000 numbers: within 1.1 % as a rule
  EXPECT_NEAR(head(1).mean().item<double>(), 0.0, 0.06 * std);
}

TEST(ScalarHead, AScoreIsTheHeadTimesTheHiddenStateOfItsRow) {
  const auto critic = with_scalar_head(*tiny_network(), 3);
  PackedBatchBuilder builder;
  const auto prompt = builder.add(Tokens{3, 1, 4});
  builder.add(Tokens{1, 5}, prompt);
  builder.add(Tokens{9}, prompt);
  const auto batch = builder.build(at::kCPU);

  const auto scores = critic->scores(batch, at::tensor({4, 5}, at::kLong));

  EXPECT_EQ(scores.scalar_type(), at::kFloat);
  EXPECT_EQ(scores.sizes(), (std::vector<int64_t>{2}));
  const auto expected = critic->forward(batch).matmul(critic->parameters().back().tensor.t()).squeeze(1);
  EXPECT_NEAR(scores[0].item<double>(), expected[4].item<double>(), 1e-6);
  EXPECT_NEAR(scores[1].item<double>(), expected[5].item<double>(), 1e-6);
  EXPECT_NEAR(scores[0].item<double>(), last_score(*critic, {3, 1, 4, 1, 5}).item<double>(), 1e-6);
  EXPECT_NEAR(scores[1].item<double>(), last_score(*critic, {3, 1, 4, 9}).item<double>(), 1e-6);
}

TEST(ScalarHead, HasTheGradientsOfFiniteDifferences) {
  Network policy(tiny_config(), at::kCPU, at::kDouble);
  policy.init(7);
  policy.flat().mul_(5);
  const auto critic = with_scalar_head(policy, 3);
  PackedBatchBuilder builder;
  builder.add(Tokens{3, 1, 4, 1, 5});
  builder.add(Tokens{9, 2});
  const auto batch = builder.build(at::kCPU);
  const auto rows = at::tensor({1, 4, 6}, at::kLong), weights = at::tensor({0.5, -1.0, 2.0}, at::kDouble);
  (critic->scores(batch, rows) * weights).sum().backward();

  const at::NoGradGuard no_grad;
  const auto value = [&] { return (critic->scores(batch, rows) * weights).sum().item<double>(); };
  auto* numbers = critic->flat().mutable_data_ptr<double>();
  for (const auto& slot : critic->weights().slots()) {
    const auto& tensor = critic->parameters()[static_cast<size_t>(critic->weights().find(slot.name))].tensor;
    const auto grad = tensor.grad().flatten();
    for (int64_t i = 0; i < slot.count; i += slot.count / 3 + 1) {
      double& x = numbers[slot.offset + i];
      const double kept = x, step = 1e-6;
      x = kept + step;
      const double above = value();
      x = kept - step;
      const double expected = (above - value()) / (2 * step);
      x = kept;
      EXPECT_NEAR(grad[i].item<double>(), expected, 1e-6 * std::max(1.0, std::abs(expected))) << slot.name;
    }
  }
}

TEST(ScalarHead, TakesTheAdaptersOfThePolicyIn) {
  const auto policy = tiny_network();
  policy->add_adapter({.rank = 2}, 5);
  for (const auto& [name, tensor] : policy->trained().tensors()) tensor.detach().fill_(0.1);
  const auto critic = with_scalar_head(*policy, 3);
  EXPECT_FALSE(critic->lora().has_value());
  policy->merge_adapter();
  EXPECT_TRUE(at::equal(critic->flat(), with_scalar_head(*policy, 3)->flat()));
  EXPECT_FALSE(at::equal(critic->flat(), with_scalar_head(*tiny_network(), 3)->flat()));
}

// Scores of transformers' AutoModelForSequenceClassification (5.23.0, float32, eager) on the directories that
// save_model() writes of these networks, for the ids 1, 5, 9, 3.
TEST(ScalarHead, OfEveryFamilyGivesTheScoreOfTransformersFromTheSavedDirectory) {
  const std::map<std::string, double> expected = {
      {"deepseek_v2", 0.73612130}, {"deepseek_v3", -1.64175975}, {"gemma2", 0.36598247},
      {"gemma3", -0.50312316},     {"gpt2", 0.59658611},         {"llama", 0.32551911},
      {"mistral", 0.32551911},     {"mixtral", -0.54844582},     {"phi3", -0.33957732},
      {"qwen2", -0.07348961},      {"qwen3", 1.38908207},        {"qwen3_moe", 0.17433828}};
  for (const auto& [name, score] : expected) {
    const TempFolder folder;
    const auto critic = with_scalar_head(*load_model(kGoldens / name, at::kCPU), 5);
    save_model(folder / "saved", *critic, {});
    const auto loaded = load_model(folder / "saved", at::kCPU, {.scalar_head = true});
    EXPECT_TRUE(loaded->config().scalar_head && !loaded->config().tie_embeddings);
    EXPECT_NEAR(last_score(*loaded, {1, 5, 9, 3}).item<double>(), score,
                2e-5 * std::max(1.0, std::abs(score)))
        << name;
  }
}

TEST(ScalarHead, ComesBackFromItsDirectoryBitForBit) {
  const TempFolder folder;
  const auto critic = with_scalar_head(*tiny_network(), 3);
  save_model(folder / "saved", *critic, {.dtype = at::kFloat});
  const Json config = read_json(folder / "saved/config.json");
  EXPECT_EQ(config.at("architectures"), Json::array({"LlamaForSequenceClassification"}));
  EXPECT_EQ(config.at("num_labels"), 1);
  const auto loaded = load_model(folder / "saved", at::kCPU, {.scalar_head = true});
  EXPECT_TRUE(at::equal(loaded->flat(), critic->flat()));
  EXPECT_TRUE(at::equal(last_score(*loaded, {3, 4}), last_score(*critic, {3, 4})));
}

TEST(ScalarHead, ADirectoryOfTheOtherKindIsRefusedAndSoAreMoreLabels) {
  const TempFolder folder;
  save_model(folder / "saved", *with_scalar_head(*tiny_network(), 3), {});
  EXPECT_THAT(refusal([&] { load_model(folder / "saved", at::kCPU); }),
              testing::HasSubstr("is a reward model and no policy"));
  EXPECT_THAT(refusal([&] { check_model(kGoldens / "llama", /*scalar_head=*/true); }),
              testing::HasSubstr("a reward model is a directory of LlamaForSequenceClassification"));
  Json config = read_json(folder / "saved/config.json");
  for (const char* key : {"num_labels", "id2label"}) config.erase(key);
  const auto written = [&] {
    write_file_atomically(folder / "saved/config.json", config.dump());
    return refusal([&] { read_model_config(folder / "saved"); });
  };
  EXPECT_THAT(written(), testing::HasSubstr("with 2 labels"));  // what transformers takes it for
  config["num_labels"] = 3;
  EXPECT_THAT(written(), testing::HasSubstr("with 3 labels"));
  config["id2label"] = {{"0", "good"}};
  EXPECT_EQ(written(), "");
}

TEST(ScalarHead, HasNoLogitsAndNothingToPublish) {
  const auto policy = tiny_network();
  const auto critic = with_scalar_head(*policy, 3);
  PackedBatchBuilder builder;
  builder.add(Tokens{3, 1});
  const auto batch = builder.build(at::kCPU);
  const auto row = at::tensor({0}, at::kLong);
  EXPECT_THAT(refusal([&] { critic->logprobs(batch, {row, row}, 1.0); }), testing::HasSubstr("no logits"));
  EXPECT_THAT(refusal([&] { critic->head(); }), testing::HasSubstr("no logits"));
  EXPECT_THAT(
      refusal([&] { Network::snapshot(critic->config(), at::kCPU, Rounding::None, critic->merged_flat()); }),
      testing::HasSubstr("has a scalar head"));
  EXPECT_THAT(refusal([&] { policy->scores(batch, row); }), testing::HasSubstr("this one has logits"));
  EXPECT_THAT(refusal([&] { with_scalar_head(*critic, 3); }), testing::HasSubstr("has one already"));
  critic->freeze();
  EXPECT_EQ(critic->transformer(0), nullptr);
  EXPECT_FALSE(critic->scores(batch, row).requires_grad());
}

}  // namespace
}  // namespace sluice::model
