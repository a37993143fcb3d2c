// Files config.json that nobody should meet: each refused by name, at once, before anything is allocated.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"
#include "base/files.h"
#include "model/model_config.h"
#include "tests/base/temp_folder.h"

namespace sluice::model {
namespace {

struct Malformed {
  std::string text;
  std::string part;  // of the refusal
};

void expect_refusals(const std::vector<Malformed>& cases) {
  const TempFolder directory;
  for (const auto& [text, part] : cases) {
    write_file_atomically(directory / "config.json", text);
    const auto begin = std::chrono::steady_clock::now();
    try {
      model_config_from_json(read_json(directory / "config.json"), (directory / "config.json").string());
      ADD_FAILURE() << "taken: " << text.substr(0, 200);
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("config.json"));
      EXPECT_THAT(error.what(), testing::HasSubstr(part));
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1)) << text.substr(0, 200);
  }
}

// Keys that stand in for those of a small network of the family, "null" for leaving one out.
std::string config(const std::string& model_type, const std::string& changes) {
  Json json{{"model_type", model_type}, {"vocab_size", 100},      {"hidden_size", 64},
            {"intermediate_size", 96},  {"num_hidden_layers", 2}, {"num_attention_heads", 4}};
  if (model_type.starts_with("deepseek")) {
    json.update(Json::parse(R"({"kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
      "v_head_dim": 8, "n_routed_experts": 8, "moe_intermediate_size": 32, "num_experts_per_tok": 2})"));
  }
  if (model_type == "qwen3_moe") json.update({{"num_experts", 8}, {"moe_intermediate_size", 32}});
  if (model_type == "gpt2") json.update({{"n_embd", 64}, {"n_layer", 2}, {"n_head", 4}});
  json.update(Json::parse(changes));
  return json.dump();
}

std::vector<Malformed> of(const std::string& model_type, std::vector<Malformed> changes) {
  for (auto& [text, part] : changes) text = config(model_type, text);
  return changes;
}

TEST(HostileConfig, ThatIsNoJsonObject) {
  using std::string_literals::operator""s;
  const std::string whole = config("llama", "{}");
  expect_refusals({{"", "not JSON"},
                   {whole.substr(0, whole.size() - 1), "not JSON at byte"},
                   {whole + "}", "not JSON at byte"},
                   {whole + whole, "not JSON at byte"},
                   {"[" + whole + "]", "not an object, it is array"},
                   {"\"llama\"", "not an object"},
                   {"null", "not an object"},
                   {"{'model_type': 'llama'}", "not JSON at byte"},
                   {"{\"model_type\": \"ll\xff\"}", "not JSON at byte"},
                   {"{\"model_type\": \"llama\", \"model_type\": \"llama\"}", "stands twice, at byte"},
                   {"{\"vocab_size\": 1e999}", "not JSON at byte"},
                   {"{\"vocab_size\": NaN}", "not JSON at byte"},
                   {std::string(1'000'000, '['), "nested deeper than 64"},
                   {"{\"a\":" + std::string(1'000'000, '{'), "not JSON at byte"}});
}

TEST(HostileConfig, OfNoFamily) {
  expect_refusals({{"{}", "\"model_type\" is missing"},
                   {"{\"model_type\": 7}", "\"model_type\" should be"},
                   {"{\"model_type\": \"\"}", "is not supported; those that are"},
                   {"{\"model_type\": \"LLAMA\"}", "is not supported"},
                   {"{\"model_type\": \"../llama\"}", "is not supported"}});
  expect_refusals(
      of("llama", {{R"({"architectures": []})", "architectures"},
                   {R"({"architectures": "LlamaForCausalLM"})", "architectures"},
                   {R"({"architectures": ["LlamaForCausalLM", "Qwen2ForCausalLM"]})", "architectures"},
                   {R"({"architectures": [null]})", "architectures"}}));
}

TEST(HostileConfig, WithSizesOutOfBounds) {
  std::vector<Malformed> cases;
  for (const char* key :
       {"vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "max_position_embeddings"}) {
    for (const char* value : {"0", "-1", "1099511627776", "9223372036854775807", "18446744073709551615",
                              "2.5", "1e3", "\"64\"", "[64]", "{}", "true"}) {
      cases.push_back({"{\"" + std::string(key) + "\": " + value + "}", key});
    }
  }
  expect_refusals(of("llama", cases));
  expect_refusals(of("llama", {{R"({"hidden_size": 2})", "no width each"},
                               {R"({"num_attention_heads": 4, "num_key_value_heads": 8})", "no multiple"},
                               {R"({"rms_norm_eps": -1})", "epsilon"},
                               {R"({"rms_norm_eps": 1e300})", "epsilon"},
                               {R"({"tie_word_embeddings": "yes"})", "tie_word_embeddings"},
                               {R"({"hidden_act": null, "hidden_size": null})", "hidden_size"}}));
}

TEST(HostileConfig, WithRotationsThatAreNone) {
  expect_refusals(of(
      "llama",
      {{R"({"rope_theta": 0})", "rope_theta"},
       {R"({"rope_theta": -1e4})", "rope_theta"},
       {R"({"rope_theta": 1e300})", "rope_theta"},
       {R"({"rope_scaling": []})", "rope_scaling"},
       {R"({"rope_scaling": "linear"})", "rope_scaling"},
       {R"({"rope_scaling": {"rope_type": 1}})", "rope_type"},
       {R"({"rope_scaling": {"rope_type": "linear"}})", "factor"},
       {R"({"rope_scaling": {"rope_type": "linear", "factor": 0}})", "factor"},
       {R"({"rope_scaling": {"rope_type": "linear", "factor": -4}})", "factor"},
       {R"({"rope_scaling": {"rope_type": "linear", "factor": 1e300}})", "factor"},
       {R"({"rope_scaling": {"rope_type": "dynamic", "factor": 1e8}})", "positions"},
       {R"({"rope_scaling": {"rope_type": "yarn", "factor": 1e8}})", "positions"},
       {R"({"rope_scaling": {"rope_type": "dynamic", "factor": 2}, "head_dim": 2})", "dynamic"},
       {R"({"rope_scaling": {"rope_type": "yarn", "factor": 4, "beta_fast": 0}})", "beta_fast"},
       {R"({"rope_scaling": {"rope_type": "yarn", "factor": 4}, "rope_theta": 1})", "yarn"},
       {R"({"rope_scaling": {"rope_type": "yarn", "factor": 1e8, "mscale": 1e308, "mscale_all_dim": 1}})",
        "yarn"},
       {R"({"rope_scaling": {"rope_type": "yarn", "original_max_position_embeddings": 0}})", "original_max"},
       {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8}})", "original_max_position_embeddings"},
       {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 32,
           "low_freq_factor": 4, "high_freq_factor": 4}})",
        "low_freq_factor 4"},
       {R"({"rope_scaling": {"rope_type": "longrope", "short_factor": [1], "long_factor": [1]}})",
        "short_factor"},
       {R"({"rope_scaling": {"rope_type": "longrope", "short_factor": "1", "long_factor": [1]}})",
        "short_factor"},
       {R"({"rope_scaling": {"rope_type": "longrope", "short_factor": [1,1,1,1,1,1,1,0],
           "long_factor": [1,1,1,1,1,1,1,1]}})",
        "short_factor holds 0"},
       {R"({"partial_rotary_factor": 1e300})", "are rotated"},
       {R"({"partial_rotary_factor": -1})", "are rotated"},
       {R"({"partial_rotary_factor": 0})", "are rotated"},
       {R"({"partial_rotary_factor": 1.5})", "are rotated"}}));
}

TEST(HostileConfig, WithExpertsThatDoNotWorkOut) {
  expect_refusals(
      of("mixtral", {{R"({"num_local_experts": 0})", "num_local_experts"},
                     {R"({"num_experts_per_tok": 9})", "9 experts"},
                     {R"({"num_local_experts": 4096, "num_hidden_layers": 1024})", "at most 65536"}}));
  expect_refusals(of("qwen3_moe", {{R"({"num_experts": 1e9})", "num_experts"},
                                   {R"({"mlp_only_layers": [2]})", "mlp_only_layers has 2"},
                                   {R"({"mlp_only_layers": [-1]})", "mlp_only_layers"},
                                   {R"({"mlp_only_layers": ["0"]})", "mlp_only_layers"},
                                   {R"({"decoder_sparse_step": 0})", "decoder_sparse_step"}}));
  expect_refusals(
      of("deepseek_v3", {{R"({"n_group": 3})", "in 3 groups"},
                         {R"({"n_group": 0})", "n_group"},
                         {R"({"n_group": 8, "topk_group": 8})", "too small"},
                         {R"({"n_group": 2, "topk_group": 3})", "3 groups out of 2"},
                         {R"({"kv_lora_rank": 0})", "kv_lora_rank"},
                         {R"({"qk_rope_head_dim": 7})", "no pairs"},
                         {R"({"v_head_dim": -8})", "v_head_dim"},
                         {R"({"n_shared_experts": 4096, "moe_intermediate_size": 1048576})", "shared"},
                         {R"({"moe_layer_freq": 0})", "moe_layer_freq"},
                         {R"({"routed_scaling_factor": "big"})", "routed_scaling_factor"}}));
}

TEST(HostileConfig, WithKeysThatOtherFamiliesBring) {
  expect_refusals(
      of("gemma2", {{R"({"attn_logit_softcapping": 0})", "soft cap"},
                    {R"({"final_logit_softcapping": -1})", "soft cap"},
                    {R"({"query_pre_attn_scalar": 0})", "query_pre_attn_scalar"},
                    {R"({"layer_types": ["full_attention"]})", "layer_types has 1 entries for 2 layers"},
                    {R"({"layer_types": ["full_attention", "chunked_attention"]})", "chunked_attention"},
                    {R"({"sliding_window": 0})", "sliding_window"}}));
  expect_refusals(of("gpt2", {{R"({"n_head": 3})", "no multiple of n_head 3"},
                              {R"({"n_positions": -5})", "n_positions"},
                              {R"({"add_cross_attention": true})", "add_cross_attention"}}));
  expect_refusals(
      of("qwen2", {{R"({"use_sliding_window": true, "max_window_layers": -1})", "max_window_layers"},
                   {R"({"layer_types": [1, 2]})", "layer_types"}}));
}

TEST(HostileConfig, WithWeightsThatAreNotRead) {
  expect_refusals(
      of("llama", {{R"({"quantization_config": "gptq"})", "quantization_config"},
                   {R"({"quantization_config": {"quant_method": "awq"}})", "\"awq\" is not supported"},
                   {R"({"quantization_config": {"quant_method": "fp8"}})", "weight_block_size"},
                   {R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [0, 128]}})",
                    "weight_block_size"},
                   {R"({"quantization_config": {"quant_method": "fp8", "weight_block_size": [128]}})",
                    "weight_block_size"}}));
}

TEST(HostileConfig, WithTokensOutsideOfTheVocabulary) {
  expect_refusals(of("llama", {{R"({"bos_token_id": 100})", "bos_token_id is 100, vocab_size is 100"},
                               {R"({"pad_token_id": -2})", "pad_token_id"},
                               {R"({"eos_token_id": [2, 18446744073709551615]})", "eos_token_id"},
                               {R"({"eos_token_id": "2"})", "eos_token_id"},
                               {R"({"eos_token_id": [[2]]})", "eos_token_id"}}));
}

}  // namespace
}  // namespace sluice::model
