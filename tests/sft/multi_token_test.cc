#include "sft/multi_token.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/spec_example.h"

namespace sluice::sft {
namespace {

TEST(MultiToken, HasTheTargetsAndTheLossOfTheSpecification) {
  const Json& example = spec_example("mtp_loss");
  const auto& in = example["inputs"];
  const auto& expected = example["expected"];
  const auto tokens = in["input_ids"].get<std::vector<int32_t>>();
  const auto mask = in["target_mask"].get<std::vector<uint8_t>>();
  const auto main = shifted_targets(tokens, mask, 0), next = shifted_targets(tokens, mask, 1);
  EXPECT_EQ(main.tokens, expected["main_targets"].get<std::vector<int32_t>>());
  EXPECT_EQ(next.tokens, expected["mtp1_targets"].get<std::vector<int32_t>>());
  EXPECT_EQ(main.weights, expected["main_weights"].get<std::vector<uint8_t>>());
  EXPECT_EQ(next.weights, expected["mtp1_weights"].get<std::vector<uint8_t>>());
  const auto loss = [&](const char* key, const ShiftedTargets& targets) {
    return shifted_loss(at::tensor(in[key].get<std::vector<double>>(), at::kDouble), targets.weights);
  };
  const auto main_loss = loss("main_logp_of_next", main);
  const std::vector<at::Tensor> depths = {loss("mtp1_logp_of_next_next", next)};
  EXPECT_NEAR(main_loss.item<double>(), expected["main_loss"].get<double>(), 1e-12);
  EXPECT_NEAR(depths[0].item<double>(), expected["mtp_loss"].get<double>(), 1e-12);
  EXPECT_NEAR(multi_token_loss(main_loss, depths, 0.3).item<double>(), expected["total"].get<double>(),
              1e-12);
}

TEST(MultiToken, OfNoTargetIsZero) {
  const auto targets = shifted_targets(std::vector<int32_t>{1, 2}, std::vector<uint8_t>{0, 1}, 3);
  EXPECT_TRUE(targets.tokens.empty());
  EXPECT_EQ(shifted_loss(at::zeros({2}, at::kDouble), std::vector<uint8_t>{0, 0}).item<double>(), 0.0);
  EXPECT_THROW(shifted_loss(at::zeros({2}), targets.weights), Error);
}

}  // namespace
}  // namespace sluice::sft
