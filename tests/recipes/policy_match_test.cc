#include "recipes/internal/policy_match.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/learner/rollouts.h"
#include "tests/tiny_network.h"

namespace sluice::recipes {
namespace {

using learner::completion_of;
using model::Rounding;
using testing::HasSubstr;

// Heads of 24 numbers, which no kernel of ours serves: ATen computes them.
std::unique_ptr<model::Network> network_of(Rounding rounding) {
  model::LlamaShape shape;
  shape.vocab_size = 23;
  shape.hidden_size = 48;
  shape.intermediate_size = 64;
  shape.num_layers = 2;
  shape.num_heads = 2;
  shape.num_kv_heads = 1;
  shape.head_dim = 24;
  shape.max_position = 64;
  auto network = std::make_unique<model::Network>(model::llama_config(shape), at::kCPU);
  network->init(/*seed=*/7);
  network->round_products(rounding);
  return network;
}

// A batch whose tokens were recorded as by so much likelier than they are.
learner::TrainingBatch batch_recorded_by(const model::Network& network, double difference) {
  const at::NoGradGuard no_grad;
  learner::TrainingBatch batch;
  batch.groups = {learner::group_of({1, 2, 3}, {completion_of({4, 5, 6}, 1.0), completion_of({7, 8}, 0.0)})};
  batch.advantages = {{0.0, 0.0}};
  for (const auto& micro : learner::cut_into_micro_batches(batch, 100, at::kCPU)) {
    const auto exact = network.logprobs(micro.batch, micro.targets, 1.0).logprobs.contiguous();
    const auto* next = exact.const_data_ptr<float>();
    for (const auto& [group, completion] : micro.completions) {
      for (auto& logprob : batch.groups[group].completions[completion].logprobs) {
        logprob = *next++ + static_cast<float>(difference);
      }
    }
  }
  return batch;
}

learner::StepMetrics check(Rounding rounding, double difference, bool int8_weights = false) {
  const auto network = network_of(rounding);
  Recipe recipe;
  recipe.model.rounding = rounding;
  StageSpec stage;
  stage.name = "grpo";
  stage.batch.micro_batch_tokens = 100;
  stage.rollout.int8_weights = int8_weights;
  return check_match(batch_recorded_by(*network, difference), network->flat(), *network, recipe, stage);
}

TEST(PolicyMatch, IsBoundedByWhatTheProductsRound) {
  ASSERT_FALSE(model::kernels_serve(network_of(Rounding::None)->config()));
  EXPECT_EQ(check(Rounding::None, 0.0).at("logprob_diff/max"), 0.0);
  for (const auto rounding : {Rounding::None, Rounding::BFloat16}) {
    EXPECT_THROW(check(rounding, 3e-4), Error);
  }
  for (const auto rounding : {Rounding::BFloat16Both, Rounding::Float16Both}) {
    EXPECT_NEAR(check(rounding, 3e-4).at("logprob_diff/mean"), 3e-4, 1e-6);
    EXPECT_THROW(check(rounding, 0.02), Error);
  }
  EXPECT_NEAR(check(Rounding::None, 0.02, /*int8_weights=*/true).at("logprob_diff/max"), 0.02, 1e-6);
}

TEST(PolicyMatch, NamesWhoDiffersAndByHowMuch) {
  try {
    check(Rounding::None, 0.25);
    FAIL() << "nothing was said";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("differ from the learner's by 0.25"));
    EXPECT_THAT(error.what(), HasSubstr("the bounds are 1e-05 and 0.0001"));
  }
}

}  // namespace
}  // namespace sluice::recipes
