#include "model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/model_directory.h"

namespace sluice::model {
namespace {

Json minimal() {
  return {{"model_type", "llama"},   {"vocab_size", 100},      {"hidden_size", 64},
          {"intermediate_size", 96}, {"num_hidden_layers", 2}, {"num_attention_heads", 4}};
}

void expect_refusal(const Json& json, const std::string& part) {
  try {
    model_config_from_json(json, "config.json");
    FAIL() << "taken: " << json.dump();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("config.json"));
    EXPECT_THAT(error.what(), testing::HasSubstr(part));
  }
}

TEST(ModelConfig, WhatIsNotSaidIsAsInTransformers) {
  const auto config = model_config_from_json(minimal(), "config.json");
  EXPECT_EQ(config.attention.num_kv_heads, 4);
  EXPECT_EQ(config.attention.head_dim, 16);
  EXPECT_EQ(config.attention.scale, 0.25);
  EXPECT_EQ(config.num_layers(), 2);
  EXPECT_EQ(config.max_position, 2048);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_FALSE(config.tie_embeddings);
  EXPECT_EQ(config.ropes.front().theta, 10000.0);
  EXPECT_TRUE(config.eos_ids.empty());
}

TEST(ModelConfig, ReadsBothFormsOfRopeScaling) {
  const Json scaling{{"factor", 8.0},
                     {"low_freq_factor", 1.0},
                     {"high_freq_factor", 4.0},
                     {"original_max_position_embeddings", 32}};
  Json old_form = minimal(), new_form = minimal();
  old_form["rope_theta"] = 500000.0;
  old_form["rope_scaling"] = scaling;
  old_form["rope_scaling"]["type"] = "llama3";
  new_form["rope_parameters"] = scaling;
  new_form["rope_parameters"]["rope_type"] = "llama3";
  new_form["rope_parameters"]["rope_theta"] = 500000.0;
  for (const auto& json : {old_form, new_form}) {
    const auto rope = model_config_from_json(json, "config.json").ropes.front();
    EXPECT_EQ(rope.type, "llama3");
    EXPECT_EQ(rope.theta, 500000.0);
    EXPECT_EQ(rope.factor, 8.0);
    EXPECT_EQ(rope.original_max_position, 32);
  }
}

TEST(ModelConfig, WritesWhatItReadsBack) {
  Json json = minimal();
  json["eos_token_id"] = {2, 7};
  json["bos_token_id"] = 1;
  json["tie_word_embeddings"] = true;
  json["a_key_of_tomorrow"] = 5;
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2.0}};
  const auto first = model_config_from_json(json, "config.json");
  const Json written = model_config_to_json(first, "float32");
  const auto second = model_config_from_json(written, "config.json");
  EXPECT_EQ(model_config_to_json(second, "float32"), written);
  EXPECT_EQ(second.eos_ids, (std::vector<int64_t>{2, 7}));
  EXPECT_EQ(second.ropes.front().factor, 2.0);
  EXPECT_EQ(written.at("a_key_of_tomorrow"), 5);
  EXPECT_EQ(written.at("torch_dtype"), "float32");
}

// The .py files that it names are neither read nor copied.
TEST(ModelConfig, ALinkToCodeIsNotWritten) {
  Json json = minimal();
  json["auto_map"] = {{"AutoModelForCausalLM", "modeling_mine.MineForCausalLM"}};
  const auto written = model_config_to_json(model_config_from_json(json, "config.json"), "float32");
  EXPECT_FALSE(written.contains("auto_map"));
}

// What Qwen2.5's card says to write for long texts.
TEST(ModelConfig, PositionsGoAsFarAsYarnStretchesThem) {
  Json json = minimal();
  json["model_type"] = "qwen2";
  json["max_position_embeddings"] = 32768;
  json["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32768}};
  EXPECT_EQ(model_config_from_json(json, "config.json").max_position, 131072);
  json["max_position_embeddings"] = 200'000;
  EXPECT_EQ(model_config_from_json(json, "config.json").max_position, 200'000);
}

TEST(ModelConfig, AMissingKeyHasTheDefaultOfItsFamilyWhereNullMeansNone) {
  const auto read = [](const char* model_type, const Json& changes) {
    Json json = minimal();
    json["model_type"] = model_type;
    json.update(changes);
    return model_config_from_json(json, "config.json");
  };
  EXPECT_EQ(read("mistral", Json::object()).layers[0].window, 4096);
  EXPECT_EQ(read("mistral", {{"sliding_window", nullptr}}).layers[0].window, std::nullopt);
  EXPECT_EQ(read("mixtral", Json::object()).layers[0].window, std::nullopt);

  const auto gemma = read("gemma2", Json::object());
  EXPECT_EQ(gemma.attention.soft_cap, 50.0);
  EXPECT_EQ(gemma.logit_soft_cap, 30.0);
  const auto uncapped =
      read("gemma2", {{"attn_logit_softcapping", nullptr}, {"final_logit_softcapping", nullptr}});
  EXPECT_EQ(uncapped.attention.soft_cap, std::nullopt);
  EXPECT_EQ(uncapped.logit_soft_cap, std::nullopt);
  EXPECT_EQ(read("gemma3_text", Json::object()).attention.soft_cap, std::nullopt);

  Json deepseek = {{"kv_lora_rank", 16},      {"qk_nope_head_dim", 8},  {"qk_rope_head_dim", 8},
                   {"v_head_dim", 8},         {"n_routed_experts", 16}, {"moe_intermediate_size", 32},
                   {"num_experts_per_tok", 2}};
  const auto grouped = read("deepseek_v3", deepseek);
  EXPECT_EQ(grouped.experts->router.num_groups, 8);
  EXPECT_EQ(grouped.experts->router.top_groups, 4);
  EXPECT_EQ(read("deepseek_v2", deepseek).experts->router.num_groups, 1);
  deepseek.update({{"n_group", nullptr}, {"topk_group", nullptr}});
  EXPECT_EQ(read("deepseek_v3", deepseek).experts->router.num_groups, 1);
  EXPECT_EQ(read("deepseek_v3", deepseek).experts->router.top_groups, 1);
}

TEST(ModelConfig, TheFirstNamesOfLongropeAreTaken) {
  const auto file = std::filesystem::path(SLUICE_SOURCE_DIR) / "data/goldens/phi3_longrope/config.json";
  Json json = read_json(file);
  const auto expected = model_config_from_json(json, "config.json").ropes.front();
  for (const char* type : {"su", "yarn"}) {
    json["rope_scaling"]["type"] = type;
    const auto rope = model_config_from_json(json, "config.json").ropes.front();
    EXPECT_EQ(rope.type, "longrope");
    EXPECT_EQ(rope.short_factor, expected.short_factor);
    EXPECT_EQ(rope.long_factor, expected.long_factor);
    EXPECT_EQ(rope.table_scale, expected.table_scale);
  }
  json["rope_scaling"] = {{"type", "yarn"}, {"factor", 4.0}};
  expect_refusal(json, "rope type \"yarn\" is not one of this family's");
}

TEST(ModelConfig, CountsTheParametersOfTheToyModel) {
  const auto config = read_model_config(std::filesystem::path(SLUICE_SOURCE_DIR) / "data/toy_llama");
  // 4 layers of 4 x 128 x 128 + 3 x 128 x 344 + 256, two tables of 16 x 128 and the last norm
  EXPECT_EQ(Network::declare(config).num_numbers(), 4 * (65536 + 132096 + 256) + 2 * 2048 + 128);
}

TEST(ModelConfig, RefusesWhatItWouldGetWrong) {
  const auto with = [](const char* key, const Json& value) {
    Json json = minimal();
    json[key] = value;
    return json;
  };
  expect_refusal(with("model_type", "gemma9"),
                 "\"gemma9\" is not supported; those that are: llama, qwen2, qwen3");
  expect_refusal(with("architectures", {"LlamaForTokenClassification"}),
                 "only LlamaForCausalLM and LlamaForSequenceClassification are supported");
  expect_refusal(with("model_type", "\x1b[2J" + std::string(1000, 'x')), "model_type \"\\u001b[2Jxxx");
  expect_refusal(with("model_type", std::string(1000, 'x')), "x...\" is not supported");
  expect_refusal(with("rope_scaling", {{"rope_type", "\x1b[2J"}}), "rope type \"\\u001b[2J\" is not");
  expect_refusal(
      with("rope_scaling", {{"rope_type", "spiral"}, {"factor", 4.0}}),
      "\"spiral\" is not supported; those that are: default, linear, dynamic, yarn, llama3, longrope");
  expect_refusal(with("rope_scaling", {{"rope_type", "linear"}}), "rope_scaling");
  expect_refusal(
      with("rope_scaling", {{"rope_type", "longrope"}, {"short_factor", {1.0}}, {"long_factor", {2.0}}}),
      "short_factor has 1 numbers, half the rotated part of a head has 8");
  expect_refusal(with("quantization_config", {{"quant_method", "gptq"}}), "\"gptq\" is not supported");
  expect_refusal(with("hidden_act", "relu"), "\"relu\" is not supported; those that are: silu");
  expect_refusal(with("hidden_size", int64_t{1} << 40), "hidden_size");
  expect_refusal(with("vocab_size", -1), "vocab_size");
  expect_refusal(with("num_attention_heads", 0), "num_attention_heads");
  expect_refusal(with("num_key_value_heads", 3), "no multiple");
  expect_refusal(with("head_dim", 7), "no pairs");
  expect_refusal(with("eos_token_id", 100), "eos_token_id");
  expect_refusal(with("rms_norm_eps", "small"), "rms_norm_eps");
  Json incomplete = minimal();
  incomplete.erase("hidden_size");
  expect_refusal(incomplete, "hidden_size");
}

}  // namespace
}  // namespace sluice::model
