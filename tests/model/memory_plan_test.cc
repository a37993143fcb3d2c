#include "model/memory_plan.h"

#include <gtest/gtest.h>

#include "model/network.h"
#include "tests/tiny_network.h"

namespace sluice::model {
namespace {

ModelConfig llama_7b() {
  return llama_config({.vocab_size = 32000,
                       .hidden_size = 4096,
                       .intermediate_size = 11008,
                       .num_layers = 32,
                       .num_heads = 32,
                       .num_kv_heads = 32,
                       .head_dim = 128});
}

ModelConfig deepseek_v3() {
  return model_config_from_json(Json{{"architectures", {"DeepseekV3ForCausalLM"}},
                                     {"model_type", "deepseek_v3"},
                                     {"vocab_size", 129280},
                                     {"hidden_size", 7168},
                                     {"intermediate_size", 18432},
                                     {"moe_intermediate_size", 2048},
                                     {"num_hidden_layers", 61},
                                     {"num_attention_heads", 128},
                                     {"num_key_value_heads", 128},
                                     {"n_routed_experts", 256},
                                     {"n_shared_experts", 1},
                                     {"num_experts_per_tok", 8},
                                     {"n_group", 8},
                                     {"topk_group", 4},
                                     {"first_k_dense_replace", 3},
                                     {"routed_scaling_factor", 2.5},
                                     {"norm_topk_prob", true},
                                     {"scoring_func", "sigmoid"},
                                     {"q_lora_rank", 1536},
                                     {"kv_lora_rank", 512},
                                     {"qk_nope_head_dim", 128},
                                     {"qk_rope_head_dim", 64},
                                     {"v_head_dim", 128},
                                     {"hidden_act", "silu"},
                                     {"rms_norm_eps", 1e-6},
                                     {"rope_theta", 10000.0},
                                     {"max_position_embeddings", 4096},
                                     {"tie_word_embeddings", false}},
                                "deepseek");
}

TEST(MemoryPlan, ATokenOfLlama7bTakesHalfAMebibyteIn16Bits) {
  const auto plan = plan_memory(
      llama_7b(),
      {.weight_type = at::kHalf, .cache_type = at::kHalf, .sequences = 2, .sequence_tokens = 1000});
  EXPECT_EQ(plan.cache_per_token, 524'288);  // 2 * 32 layers * 32 heads * 128 * 2 bytes
  EXPECT_EQ(plan.cache, 2'000 * 524'288LL);
  EXPECT_EQ(plan.parameters, 6'738'415'616);
  EXPECT_EQ(plan.weights, 2 * 6'738'415'616);
}

TEST(MemoryPlan, ATokenOfDeepseekV3IsOneLatentVectorALayer) {
  const auto plan = plan_memory(deepseek_v3(), {.cache_type = at::kBFloat16});
  EXPECT_EQ(plan.cache_per_token, 70'272);  // (512 + 64) * 61 * 2
  EXPECT_EQ(plan_memory(deepseek_v3(), {}).cache_per_token, 140'544);
  EXPECT_EQ(plan.parameters / 1'000'000'000, 671);
}

TEST(MemoryPlan, TrainingAddsAGradientAndTwoMomentsANumber) {
  const auto config = tiny_config();
  const int64_t numbers = Network::declare(config).num_numbers();
  const auto plan = plan_memory(config, {.trains = true});
  EXPECT_EQ(plan.weights, 4 * numbers);
  EXPECT_EQ(plan.gradients, 4 * numbers);
  EXPECT_EQ(plan.optimizer, 8 * numbers);
  const auto frozen = plan_memory(config, {.weight_type = at::kBFloat16});
  EXPECT_EQ(frozen.weights, 2 * numbers);
  EXPECT_EQ(frozen.gradients + frozen.optimizer + frozen.cache, 0);
}

// Of tiny_config(): a layer's q 16 x 16, k and v 8 x 16, o 16 x 16, gate and up 24 x 16, down 16 x 24; the
// head 23 x 16. The embedding and the norms are not packed.
TEST(MemoryPlan, AFrozenNetworkHasItsMatricesTwice) {
  const auto plan = plan_memory(tiny_config(), {.packed_type = at::kFloat});
  EXPECT_EQ(plan.packed, 4 * (2 * (2 * 256 + 2 * 128 + 3 * 384) + 368));
  EXPECT_EQ(plan.total(), plan.weights + plan.packed);
}

// q_proj of 2 layers, 16 -> 16: A [3, 16] and B [16, 3] each.
TEST(MemoryPlan, OfAdaptersOnlyTheyAreTrained) {
  const auto config = tiny_config();
  const int64_t numbers = Network::declare(config).num_numbers(), adapters = 2 * (3 * 16 + 16 * 3);
  const auto plan =
      plan_memory(config, {.trains = true, .lora = LoraConfig{.rank = 3, .targets = {"q_proj"}}});
  EXPECT_EQ(plan.weights, 4 * (numbers + adapters));
  EXPECT_EQ(plan.gradients, 4 * adapters);
  EXPECT_EQ(plan.optimizer, 8 * adapters);
}

TEST(MemoryPlan, TheCacheIsWhatAKvCacheAllocates) {
  const auto network = tiny_network();
  const KvCache cache({.layout = network->cache_layout(), .num_blocks = 3, .block_size = 32}, at::kCPU);
  const auto plan = plan_memory(network->config(), {.sequences = 3, .sequence_tokens = 32});
  EXPECT_EQ(plan.cache, cache.bytes());
}

// On the CPU token_logprobs() takes 1,024 rows at once at most, and 2^21 logits: with so many rows those of
// 2,048 tokens.
TEST(MemoryPlan, LogitsAreThoseThatTheCodeHasAtOnce) {
  const auto of = [](int64_t rows, const at::Device& device, bool trains = false) {
    return plan_memory(tiny_config(), {.device = device, .trains = trains, .rows = rows}).activations;
  };
  EXPECT_EQ(of(1024, at::kCPU) - of(1023, at::kCPU), 4 * (188 + 16 + 23));
  EXPECT_EQ(of(1025, at::kCPU) - of(1024, at::kCPU), 4 * (188 + 16));
  EXPECT_EQ(of(8192, at::kCUDA) - of(8191, at::kCUDA), 4 * (188 + 16 + 23));
  EXPECT_EQ(of(8193, at::kCUDA) - of(8192, at::kCUDA), 4 * (188 + 16));
  EXPECT_EQ(of(9, at::kCUDA, true) - of(8, at::kCUDA, true), 4 * (2 * 188 + 16 + 2 * 23));  // and gradients

  auto config = tiny_config();
  config.vocab_size = 152'000;
  const auto logits = [&config](const at::Device& device) {
    const auto some = plan_memory(config, {.device = device, .rows = 100'000}).activations;
    return some - 4 * 100'000 * (188 + 16);
  };
  EXPECT_EQ(logits(at::kCPU), 4 * 1024 * 2048);
  EXPECT_EQ(logits(at::kCUDA), 4 * 883 * 152'000LL);  // 2^27 / 152,000
}

// 46 numbers of embedding and head of 23 x 16, the last norm, and of two blocks one.
TEST(MemoryPlan, AnOffloadedNetworkHasOneBlockAndWhatIsOutside) {
  const int64_t block = 2 * 256 + 2 * 128 + 3 * 384 + 2 * 16;
  const auto plan = plan_memory(tiny_config(), {.offloaded = true, .packed_type = at::kFloat});
  EXPECT_EQ(plan.weights, 4 * (2 * 23 * 16 + 16 + block));
  EXPECT_EQ(plan.packed, 0);
}

// 4 * 16 of the stream, (2 + 2) * 8 of q, k and v, 2 * (8 + 2) of the heads' output, 3 * 24 of the
// feed-forward: 188 a row and layer.
TEST(MemoryPlan, ActivationsAreThoseOfAllLayersOnlyWhereABackwardWantsThem) {
  const auto config = tiny_config();
  const int64_t logits = 10 * 23, matrix = 24 * 16;
  EXPECT_EQ(plan_memory(config, {.rows = 10}).activations, 4 * (10 * (188 + 16) + logits));
  EXPECT_EQ(plan_memory(config, {.trains = true, .rows = 10}).activations,
            4 * (10 * (2 * 188 + 16) + logits + matrix));
}

TEST(MemoryPlan, WithCheckpointsALayerKeepsItsInputAlone) {
  const auto config = tiny_config();
  const int64_t logits = 10 * 23, matrix = 24 * 16;
  EXPECT_EQ(plan_memory(config, {.trains = true, .checkpoints = true, .rows = 10}).activations,
            4 * (10 * (2 * 188 + 2 * 16 + 16) + logits + matrix));
}

}  // namespace
}  // namespace sluice::model
