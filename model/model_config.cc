#include "model/model_config.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/quoted_name.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

constexpr const char* kQuantisation = "quantization_config";
constexpr const char* kAutoMap = "auto_map";  // classes in .py files, which are never read or copied
constexpr int64_t kMaxAllExperts = 1 << 16;

void check_rotation(const ModelConfig& config, const std::string& where) {
  for (const auto& rope : config.ropes) {
    require<DataError>(rope.type != "dynamic" || rope.rotary_dim > 2, where, ": dynamic rope of one pair");
    require<DataError>(rope.type != "yarn" || rope.theta != 1.0, where, ": yarn with a rope_theta of 1");
    require<DataError>(std::isfinite(rope.table_scale) && std::isfinite(config.attention.scale), where, ": ",
                       rope.type, " rope scales tables by ", rope.table_scale, " and scores by ",
                       config.attention.scale);
  }
}

void check_experts(const ModelConfig& config, const std::string& where) {
  if (!config.experts) return;
  const auto& router = config.experts->router;
  const int64_t experts = config.experts->num_experts;
  const int64_t all = std::ranges::count(config.layers, true, &LayerConfig::experts) * experts;
  require<DataError>(all <= kMaxAllExperts, where, ": ", all, " experts in all layers, at most ",
                     kMaxAllExperts, " are supported");
  require<DataError>(experts % router.num_groups == 0, where, ": ", experts, " experts in ",
                     router.num_groups, " groups");
  const int64_t in_group = experts / router.num_groups;
  require<DataError>(router.top_groups <= router.num_groups && router.top_k <= router.top_groups * in_group,
                     where, ": the best ", router.top_k, " experts of ", router.top_groups, " groups out of ",
                     router.num_groups, " with ", in_group, " experts each");
  require<DataError>(router.num_groups == 1 || router.group_score <= in_group, where, ": groups of ",
                     in_group, " experts are too small");
}

// What is read by its own name: blocks of F8 with a scale each.
std::optional<std::array<int64_t, 2>> read_float8_block(const ConfigReader& json) {
  if (!json.has(kQuantisation)) return std::nullopt;
  const auto table = json.object(kQuantisation);
  const auto method = table.text_or("quant_method", "");
  require<DataError>(
      method == "fp8" && table.has("weight_block_size"), table.where(), ": quant_method ",
      quoted_name(method),
      " is not supported; those that are: fp8 with weight_block_size. Or convert the directory to"
      " bfloat16 first");
  const auto sizes = json_member<std::vector<int64_t>>(table.json(), "weight_block_size", table.where());
  require<DataError>(sizes.size() == 2 && sizes[0] > 0 && sizes[1] > 0, table.where(),
                     ": weight_block_size is not two sizes above 0");
  return std::array{sizes[0], sizes[1]};
}

// transformers counts labels by their names, and means two where a file says nothing.
void read_scalar_head(const ConfigReader& json, ModelConfig& config) {
  const int64_t labels = json.has("id2label") ? std::ssize(json.object("id2label").json())
                                              : json.count_or("num_labels", 2, kMaxVocab);
  require<DataError>(labels == 1, json.where(), ": ", std::string(config.family->classifier), " with ",
                     labels, " labels; only those of one score (num_labels 1) are supported");
  config.scalar_head = true;
  config.tie_embeddings = false;
}

void read_tokens(const ConfigReader& json, ModelConfig& config) {
  const auto one = [&](const char* key) {
    return json.has(key) ? checked_token(json.json().at(key), key, config, json.where()) : std::nullopt;
  };
  config.bos_id = one("bos_token_id");
  config.pad_id = one("pad_token_id");
  if (!json.has("eos_token_id")) return;
  const Json& eos = json.json().at("eos_token_id");
  for (const Json& value : eos.is_array() ? eos : Json::array({eos})) {
    if (const auto id = checked_token(value, "eos_token_id", config, json.where()))
      config.eos_ids.push_back(*id);
  }
}

Json token_to_json(const std::optional<int64_t>& id) { return id ? Json(*id) : Json(nullptr); }

Json tokens_to_json(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  return ids.size() == 1 ? Json(ids[0]) : Json(ids);
}

}  // namespace

std::optional<int64_t> checked_token(const Json& value, const char* key, const ModelConfig& config,
                                     const std::string& where) {
  if (value.is_null()) return std::nullopt;
  require<DataError>(value.is_number_integer(), where, ": ", key, " is not an integer, it is ", value.dump());
  // Some published files have -1 for "there is none"; JSON's comparison takes 2^64 - 1 for it too.
  if (!value.is_number_unsigned() && value == -1) return std::nullopt;
  require<DataError>(value >= 0 && value < config.vocab_size, where, ": ", key, " is ", value.dump(),
                     ", vocab_size is ", config.vocab_size);
  return value.get<int64_t>();
}

std::string_view ModelConfig::family_name() const { return family->model_type; }

ModelConfig model_config_from_json(const Json& source, const std::string& where) {
  const ConfigReader json(source, where);
  ModelConfig config;
  config.family = &find_family(json);
  config.source = source;
  config.float8_block = read_float8_block(json);
  config.family->read(json, config);
  if (is_classifier(*config.family, json)) read_scalar_head(json, config);
  require<DataError>(config.norm_eps >= 0 && config.norm_eps < 1, where, ": the norm epsilon is ",
                     config.norm_eps);
  check_rotation(config, where);
  check_experts(config, where);
  // Sequences may be as long as the scaling stretches them.
  for (const auto& rope : config.ropes) {
    if (rope.type != "dynamic" && rope.type != "yarn") continue;
    const double longest = static_cast<double>(rope.original_max_position) * rope.factor;
    require<DataError>(longest <= static_cast<double>(kMaxPosition), where, ": ", longest, " positions");
    config.max_position = std::max(config.max_position, static_cast<int64_t>(longest));
  }
  read_tokens(json, config);
  return config;
}

Json model_config_to_json(const ModelConfig& config, const std::string& dtype) {
  Json json = config.source;
  json["bos_token_id"] = token_to_json(config.bos_id);
  json["eos_token_id"] = tokens_to_json(config.eos_ids);
  json["pad_token_id"] = token_to_json(config.pad_id);
  json["torch_dtype"] = dtype;  // transformers 4
  json["dtype"] = dtype;        // transformers 5
  json.erase(kQuantisation);
  json.erase(kAutoMap);
  if (!config.scalar_head) return json;
  json["architectures"] = Json::array({config.family->classifier});
  json["num_labels"] = 1;
  json["id2label"] = {{"0", "LABEL_0"}};
  json["label2id"] = {{"LABEL_0", 0}};
  return json;
}

ModelConfig llama_config(const LlamaShape& shape) {
  return model_config_from_json(Json{{"architectures", {"LlamaForCausalLM"}},
                                     {"attention_bias", false},
                                     {"attention_dropout", 0.0},
                                     {"bos_token_id", token_to_json(shape.bos_id)},
                                     {"eos_token_id", tokens_to_json(shape.eos_ids)},
                                     {"head_dim", shape.head_dim},
                                     {"hidden_act", "silu"},
                                     {"hidden_size", shape.hidden_size},
                                     {"initializer_range", 0.02},
                                     {"intermediate_size", shape.intermediate_size},
                                     {"max_position_embeddings", shape.max_position},
                                     {"mlp_bias", false},
                                     {"model_type", "llama"},
                                     {"num_attention_heads", shape.num_heads},
                                     {"num_hidden_layers", shape.num_layers},
                                     {"num_key_value_heads", shape.num_kv_heads},
                                     {"pad_token_id", token_to_json(shape.pad_id)},
                                     {"pretraining_tp", 1},
                                     {"rms_norm_eps", shape.rms_norm_eps},
                                     {"rope_scaling", nullptr},
                                     {"rope_theta", shape.rope_theta},
                                     {"tie_word_embeddings", shape.tie_embeddings},
                                     {"use_cache", true},
                                     {"vocab_size", shape.vocab_size}},
                                "model");
}

}  // namespace sluice::model
