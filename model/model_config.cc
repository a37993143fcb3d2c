#include "model/model_config.h"

#include <array>
#include <string_view>

#include "base/error.h"

namespace sluice::model {
namespace {

constexpr std::string_view kFamilies = "llama";
constexpr std::string_view kRopeTypes = "default, linear, llama3";

struct Bound {
  int64_t ModelConfig::*field;
  const char* key;
  int64_t max;
};
// Far above any network known; below what could overflow a product of two and the bytes behind it.
constexpr std::array<Bound, 8> kBounds{{{&ModelConfig::vocab_size, "vocab_size", 1 << 24},
                                        {&ModelConfig::hidden_size, "hidden_size", 1 << 17},
                                        {&ModelConfig::intermediate_size, "intermediate_size", 1 << 20},
                                        {&ModelConfig::num_layers, "num_hidden_layers", 1 << 10},
                                        {&ModelConfig::num_heads, "num_attention_heads", 1 << 12},
                                        {&ModelConfig::num_kv_heads, "num_key_value_heads", 1 << 12},
                                        {&ModelConfig::head_dim, "head_dim", 1 << 12},
                                        {&ModelConfig::max_position, "max_position_embeddings", 1 << 24}}};
constexpr int64_t kMaxRopeTable = int64_t{1} << 30;  // numbers in the cosine and sine tables

bool given(const Json& json, const char* key) { return json.contains(key) && !json.at(key).is_null(); }

template <class T>
T member_or(const Json& json, const char* key, T fallback, const std::string& where) {
  return given(json, key) ? json_member<T>(json, key, where) : fallback;
}

void refuse_biases(const Json& json, const std::string& where) {
  for (const char* key : {"attention_bias", "mlp_bias"}) {
    require<DataError>(!member_or(json, key, false, where), where, ": ", key,
                       " is true; only networks without it are supported");
  }
}

// Newer files say everything in `rope_parameters`; older ones have `rope_theta` and, when scaled,
// `rope_scaling`.
RopeConfig read_rope(const Json& json, const std::string& where) {
  RopeConfig rope;
  rope.theta = member_or(json, "rope_theta", rope.theta, where);
  const char* key = given(json, "rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!given(json, key)) return rope;

  const std::string inside = where + ": " + key;
  const Json& table = json.at(key);
  require<DataError>(table.is_object(), inside, " is not an object, it is ", table.type_name());
  rope.theta = member_or(table, "rope_theta", rope.theta, inside);
  rope.type =
      member_or<std::string>(table, given(table, "rope_type") ? "rope_type" : "type", rope.type, inside);
  if (rope.type == "default") return rope;

  require<DataError>(rope.type == "linear" || rope.type == "llama3", inside, ": rope type \"", rope.type,
                     "\" is not supported; those that are: ", kRopeTypes);
  rope.factor = json_member<double>(table, "factor", inside);
  if (rope.type == "llama3") {
    rope.low_freq_factor = json_member<double>(table, "low_freq_factor", inside);
    rope.high_freq_factor = json_member<double>(table, "high_freq_factor", inside);
    rope.original_max_position = json_member<int64_t>(table, "original_max_position_embeddings", inside);
  }
  return rope;
}

void check_rope(const RopeConfig& rope, const std::string& where) {
  require<DataError>(rope.theta > 0 && rope.theta < 1e18, where, ": rope_theta is ", rope.theta);
  require<DataError>(rope.factor >= 1 && rope.factor < 1e9, where, ": the rope factor is ", rope.factor);
  if (rope.type != "llama3") return;
  require<DataError>(rope.low_freq_factor > 0 && rope.high_freq_factor > rope.low_freq_factor, where,
                     ": low_freq_factor ", rope.low_freq_factor, " and high_freq_factor ",
                     rope.high_freq_factor);
  require<DataError>(rope.original_max_position > 0, where, ": original_max_position_embeddings is ",
                     rope.original_max_position);
}

void check_sizes(const ModelConfig& config, const std::string& where) {
  for (const Bound& bound : kBounds) {
    const int64_t value = config.*bound.field;
    require<DataError>(value >= 1 && value <= bound.max, where, ": ", bound.key, " is ", value,
                       ", it must be between 1 and ", bound.max);
  }
  require<DataError>(config.num_heads % config.num_kv_heads == 0, where, ": num_attention_heads ",
                     config.num_heads, " is no multiple of num_key_value_heads ", config.num_kv_heads);
  require<DataError>(config.head_dim % 2 == 0, where, ": head_dim ", config.head_dim, " is odd");
  require<DataError>(config.max_position * config.head_dim <= kMaxRopeTable, where,
                     ": max_position_embeddings ", config.max_position, " times head_dim ", config.head_dim,
                     " is above ", kMaxRopeTable);
  require<DataError>(config.rms_norm_eps >= 0 && config.rms_norm_eps < 1, where, ": rms_norm_eps is ",
                     config.rms_norm_eps);
}

std::optional<int64_t> read_token(const Json& json, const char* key, const ModelConfig& config,
                                  const std::string& where) {
  if (!given(json, key)) return std::nullopt;
  const auto id = json_member<int64_t>(json, key, where);
  // Some published files have -1 for "there is none".
  if (id == -1) return std::nullopt;
  require<DataError>(id >= 0 && id < config.vocab_size, where, ": ", key, " is ", id, ", vocab_size is ",
                     config.vocab_size);
  return id;
}

std::vector<int64_t> read_eos(const Json& json, const ModelConfig& config, const std::string& where) {
  std::vector<int64_t> ids;
  if (!given(json, "eos_token_id")) return ids;
  const Json& value = json.at("eos_token_id");
  for (const Json& one : value.is_array() ? value : Json::array({value})) {
    if (const auto id = read_token(Json{{"eos_token_id", one}}, "eos_token_id", config, where))
      ids.push_back(*id);
  }
  return ids;
}

Json rope_scaling_to_json(const RopeConfig& rope) {
  if (rope.type == "default") return nullptr;
  Json json{{"rope_type", rope.type}, {"factor", rope.factor}};
  if (rope.type == "llama3") {
    json["low_freq_factor"] = rope.low_freq_factor;
    json["high_freq_factor"] = rope.high_freq_factor;
    json["original_max_position_embeddings"] = rope.original_max_position;
  }
  return json;
}

Json token_to_json(const std::optional<int64_t>& id) { return id ? Json(*id) : Json(nullptr); }

}  // namespace

int64_t ModelConfig::num_parameters() const {
  const int64_t attention = hidden_size * head_dim * 2 * (num_heads + num_kv_heads);
  const int64_t layer = attention + 3 * hidden_size * intermediate_size + 2 * hidden_size;
  return num_layers * layer + hidden_size + (tie_embeddings ? 1 : 2) * vocab_size * hidden_size;
}

ModelConfig model_config_from_json(const Json& json, const std::string& where) {
  require<DataError>(json.is_object(), where, ": not an object, it is ", json.type_name());
  ModelConfig config;
  config.model_type = json_member<std::string>(json, "model_type", where);
  require<DataError>(config.model_type == kFamilies, where, ": model_type \"", config.model_type,
                     "\" is not supported; those that are: ", kFamilies);
  const auto act = member_or<std::string>(json, "hidden_act", "silu", where);
  require<DataError>(act == "silu", where, ": hidden_act \"", act,
                     "\" is not supported; those that are: silu");
  refuse_biases(json, where);

  config.vocab_size = json_member<int64_t>(json, "vocab_size", where);
  config.hidden_size = json_member<int64_t>(json, "hidden_size", where);
  config.intermediate_size = json_member<int64_t>(json, "intermediate_size", where);
  config.num_layers = json_member<int64_t>(json, "num_hidden_layers", where);
  config.num_heads = json_member<int64_t>(json, "num_attention_heads", where);
  config.num_kv_heads = member_or(json, "num_key_value_heads", config.num_heads, where);
  require<DataError>(config.num_heads >= 1, where, ": num_attention_heads is ", config.num_heads);
  config.head_dim = member_or(json, "head_dim", config.hidden_size / config.num_heads, where);
  config.max_position = member_or(json, "max_position_embeddings", config.max_position, where);
  config.rms_norm_eps = member_or(json, "rms_norm_eps", 1e-6, where);
  config.tie_embeddings = member_or(json, "tie_word_embeddings", false, where);
  check_sizes(config, where);
  config.rope = read_rope(json, where);
  check_rope(config.rope, where);

  config.bos_id = read_token(json, "bos_token_id", config, where);
  config.pad_id = read_token(json, "pad_token_id", config, where);
  config.eos_ids = read_eos(json, config, where);
  return config;
}

Json model_config_to_json(const ModelConfig& config) {
  const Json eos = config.eos_ids.size() == 1 ? Json(config.eos_ids[0]) : Json(config.eos_ids);
  return Json{{"architectures", {"LlamaForCausalLM"}},
              {"attention_bias", false},
              {"attention_dropout", 0.0},
              {"bos_token_id", token_to_json(config.bos_id)},
              {"eos_token_id", config.eos_ids.empty() ? Json(nullptr) : eos},
              {"head_dim", config.head_dim},
              {"hidden_act", "silu"},
              {"hidden_size", config.hidden_size},
              {"initializer_range", 0.02},
              {"intermediate_size", config.intermediate_size},
              {"max_position_embeddings", config.max_position},
              {"mlp_bias", false},
              {"model_type", config.model_type},
              {"num_attention_heads", config.num_heads},
              {"num_hidden_layers", config.num_layers},
              {"num_key_value_heads", config.num_kv_heads},
              {"pad_token_id", token_to_json(config.pad_id)},
              {"pretraining_tp", 1},
              {"rms_norm_eps", config.rms_norm_eps},
              {"rope_scaling", rope_scaling_to_json(config.rope)},
              {"rope_theta", config.rope.theta},
              {"tie_word_embeddings", config.tie_embeddings},
              {"torch_dtype", "float32"},
              {"use_cache", true},
              {"vocab_size", config.vocab_size}};
}

}  // namespace sluice::model
