// DeepSeek V2 and V3: latent attention, experts with shared ones beside them; V2 routes by softmax, V3 by
// sigmoid with a selection bias. The layers for multi-token prediction are skipped.
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/quoted_name.h"
#include "model/families/decoder_config.h"
#include "model/families/family.h"

namespace sluice::model {
namespace {

constexpr const char* kPredictionLayers = "num_nextn_predict_layers";

// YaRN's sharper softmax (spec section 15.2): the square goes on the scale of the scores.
double yarn_sharpness(const ConfigReader& json, const RopeConfig& rope) {
  if (rope.type == "default") return 1.0;
  const auto table = json.object(json.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
  const double mscale = table.number_or("mscale_all_dim", 0);
  return mscale == 0 || rope.factor <= 1 ? 1.0 : 0.1 * mscale * std::log(rope.factor) + 1.0;
}

void read_latent(const ConfigReader& json, ModelConfig& config) {
  const LatentConfig latent{.query_rank = json.has("q_lora_rank") ? json.size("q_lora_rank", kMaxWidth) : 0,
                            .kv_rank = json.size("kv_lora_rank", kMaxWidth),
                            .nope_dim = json.size("qk_nope_head_dim", kMaxHeadDim),
                            .rope_dim = json.size("qk_rope_head_dim", kMaxHeadDim),
                            .value_dim = json.size("v_head_dim", kMaxHeadDim)};
  auto rope = read_rope(json, latent.rope_dim);
  rope.layout = json.flag_or("rope_interleave", true) ? RopeLayout::Interleaved : RopeLayout::HalfSplit;
  const double sharpness = yarn_sharpness(json, rope);
  config.attention.qkv_bias = config.attention.output_bias = json.flag_or("attention_bias", false);
  config.attention.scale =
      sharpness * sharpness / std::sqrt(static_cast<double>(latent.nope_dim + latent.rope_dim));
  config.latent = latent;
  config.ropes = {std::move(rope)};
}

// A count of 0, a missing one and null all mean that there are no experts.
void read_experts(const ConfigReader& json, ModelConfig& config) {
  const char* key = json.has("n_routed_experts") ? "n_routed_experts" : "num_local_experts";
  const int64_t count = json.count_or(key, 0, kMaxExperts);
  if (count == 0) return;
  const int64_t width = json.size("moe_intermediate_size", kMaxWidth);
  const int64_t shared = json.count_or("n_shared_experts", 0, kMaxExperts);
  require<DataError>(shared * width <= kMaxWidth, json.where(), ": n_shared_experts ", shared, " of width ",
                     width);
  config.experts = ExpertsConfig{.num_experts = count,
                                 .intermediate_size = width,
                                 .shared_intermediate_size = shared * width,
                                 .router = {.top_k = json.size("num_experts_per_tok", kMaxExperts),
                                            .scale = json.number_or("routed_scaling_factor", 1.0),
                                            .num_groups = json.size_or("n_group", 1, kMaxExperts),
                                            .top_groups = json.size_or("topk_group", 1, kMaxExperts)}};
  const int64_t first = json.count_or("first_k_dense_replace", 0, kMaxLayers);
  const int64_t every = json.size_or("moe_layer_freq", 1, kMaxLayers);
  for (int64_t i = 0; i < config.num_layers(); ++i) {
    config.layers[static_cast<size_t>(i)].experts = i >= first && i % every == 0;
  }
}

void read_v2(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  read_latent(json, config);
  config.mlp_bias = json.flag_or("mlp_bias", false);
  require<DataError>(!config.mlp_bias, json.where(), ": mlp_bias is true, which is not supported");
  read_experts(json, config);
  if (!config.experts) return;
  auto& router = config.experts->router;
  require<DataError>(!json.flag_or("norm_topk_prob", false), json.where(),
                     ": norm_topk_prob is true, which this family does not know");
  router.normalise = false;
  router.group_score = 1;
  const auto method = json.text_or("topk_method", "greedy");
  require<DataError>(method == "greedy" || method == "group_limited_greedy", json.where(), ": topk_method ",
                     quoted_name(method), " is not supported; those that are: greedy, group_limited_greedy");
  if (method == "greedy") router.num_groups = router.top_groups = 1;
}

void read_v3(const ConfigReader& json, ModelConfig& config) {
  read_decoder(json, config);
  read_latent(json, config);
  read_experts(json, config);
  if (!config.experts) return;
  config.experts->selection_bias = true;
  auto& router = config.experts->router;
  router.score = RouterScore::Sigmoid;
  router.num_groups = json.size_if("n_group", 8, kMaxExperts).value_or(1);
  router.top_groups = json.size_if("topk_group", 4, kMaxExperts).value_or(1);
  router.normalise = json.flag_or("norm_topk_prob", true);
  // What is not loaded is not promised to who reads the file next.
  if (config.source.contains(kPredictionLayers)) config.source[kPredictionLayers] = 0;
}

// "model.layers.61.…" of a network with 61 layers.
std::string skip_prediction_layers(const std::string& tensor, const ModelConfig& config) {
  constexpr std::string_view kPrefix = "model.layers.";
  if (!tensor.starts_with(kPrefix)) return {};
  int64_t layer = -1;
  std::from_chars(tensor.data() + kPrefix.size(), tensor.data() + tensor.size(), layer);
  if (layer < config.num_layers()) return {};
  return "layers for multi-token prediction are not loaded";
}

}  // namespace

const Family kDeepseekV2{.model_type = "deepseek_v2",
                         .architecture = "DeepseekV2ForCausalLM",
                         .classifier = "DeepseekV2ForSequenceClassification",
                         .read = read_v2,
                         .names = {}};
const Family kDeepseekV3{.model_type = "deepseek_v3",
                         .architecture = "DeepseekV3ForCausalLM",
                         .classifier = "DeepseekV3ForSequenceClassification",
                         .read = read_v3,
                         .names = {},
                         .skipped = skip_prediction_layers};

}  // namespace sluice::model
