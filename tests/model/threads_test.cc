// What the kernels compute has the same bits with any number of threads, forward and backward.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/shared_work.h"
#include "model/network.h"
#include "tests/tiny_network.h"

namespace sluice::model {
namespace {

// So large that every pass is shared among threads, with sizes that no panel and no block divides.
ModelConfig config_of(const std::string& family) {
  Json json = {{"model_type", family},
               {"vocab_size", 1'003},
               {"hidden_size", 120},
               {"intermediate_size", 344},
               {"num_hidden_layers", 2},
               {"num_attention_heads", 4},
               {"num_key_value_heads", 2},
               {"head_dim", 32},
               {"max_position_embeddings", 256},
               {"rms_norm_eps", 1e-6},
               {"rope_theta", 10000.0},
               {"hidden_act", "silu"},
               {"tie_word_embeddings", family != "qwen2"}};
  if (family == "gemma2") {
    json.update({{"hidden_activation", "gelu_pytorch_tanh"},
                 {"query_pre_attn_scalar", 48},
                 {"attn_logit_softcapping", 5.0},
                 {"final_logit_softcapping", 8.0},
                 {"sliding_window", 8},
                 {"layer_types", {"sliding_attention", "full_attention"}}});
  }
  if (family == "qwen2") json.erase("head_dim");
  return model_config_from_json(json, family);
}

// Groups of four behind prompts that stand once, of lengths that differ.
PackedBatch shared_prompts() {
  PackedBatchBuilder builder;
  int32_t next = 0;
  const auto tokens = [&next](int64_t count) {
    std::vector<int32_t> some;
    for (int64_t i = 0; i < count; ++i) some.push_back(next = (next * 7 + 5) % 1'003);
    return some;
  };
  for (int64_t group = 0; group < 5; ++group) {
    const auto prompt = builder.add(tokens(17 + group));
    for (int64_t i = 0; i < 4; ++i) builder.add(tokens(9 + 5 * i + group), prompt);
  }
  return builder.build(at::kCPU);
}

struct Variant {
  const char* family;
  Rounding rounding = Rounding::None;
  bool adapts = false;
  bool checkpoints = false;
};

class Threads : public testing::TestWithParam<Variant> {};

// Log-probs, entropies and every gradient, one after another.
std::vector<at::Tensor> results(const Variant& variant) {
  Network network(config_of(variant.family), at::kCPU);
  network.init(3);
  network.round_products(variant.rounding);
  if (variant.adapts) network.add_adapter({.rank = 4}, 5);
  network.checkpoint_blocks(variant.checkpoints);
  const auto batch = shared_prompts();
  const int64_t rows = batch.num_rows();
  std::vector<at::Tensor> found;
  for (int pass = 0; pass < 2; ++pass) {  // the second one adds to gradients that are there
    const auto out = network.logprobs(batch, {at::arange(rows), (at::arange(rows) * 31) % 1'003}, 0.7);
    (out.logprobs * at::arange(rows).sin()).sum().add(out.entropy.sum(), 0.1).backward();
    found.push_back(out.logprobs.detach());
    found.push_back(out.entropy.detach());
  }
  for (const auto& [name, tensor] : network.trained().tensors()) found.push_back(tensor.grad());
  return found;
}

TEST_P(Threads, ChangeNoBitOfAnyGradient) {
  const int before = work_threads();
  set_work_threads(1);
  const auto expected = results(GetParam());
  for (const int threads : {2, 3}) {
    set_work_threads(threads);
    const auto seen = results(GetParam());
    ASSERT_EQ(seen.size(), expected.size());
    for (size_t i = 0; i < seen.size(); ++i) {
      EXPECT_TRUE(at::equal(seen[i], expected[i])) << threads << " threads, result " << i;
    }
  }
  set_work_threads(before);
}

INSTANTIATE_TEST_SUITE_P(Model, Threads,
                         testing::Values(Variant{"llama"}, Variant{"qwen2"}, Variant{"qwen3"},
                                         Variant{"gemma2"}, Variant{"llama", Rounding::BFloat16Both},
                                         Variant{"llama", Rounding::Float16Both},
                                         Variant{"llama", Rounding::None, /*adapts=*/true},
                                         Variant{"gemma2", Rounding::None, /*adapts=*/false,
                                                 /*checkpoints=*/true}));

}  // namespace
}  // namespace sluice::model
