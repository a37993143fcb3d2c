#include "model/internal/parameter_layout.h"

#include <algorithm>
#include <map>

#include "base/error.h"

namespace sluice::model {
namespace {

std::string text_of(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

bool may_be_left_out(const std::string& name, bool tied) {
  return name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight");
}

}  // namespace

std::vector<ParameterSlot> parameter_layout(const ModelConfig& config) {
  std::vector<ParameterSlot> layout;
  int64_t offset = 0;
  const auto add = [&](const std::string& name, std::vector<int64_t> shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    const bool is_norm = shape.size() == 1;
    layout.push_back({name + ".weight", std::move(shape), offset, count, is_norm});
    offset += count;
  };
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t queries = config.num_heads * config.head_dim, keys = config.num_kv_heads * config.head_dim;
  add("model.embed_tokens", {config.vocab_size, hidden});
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    add(layer + "input_layernorm", {hidden});
    add(layer + "self_attn.q_proj", {queries, hidden});
    add(layer + "self_attn.k_proj", {keys, hidden});
    add(layer + "self_attn.v_proj", {keys, hidden});
    add(layer + "self_attn.o_proj", {hidden, queries});
    add(layer + "post_attention_layernorm", {hidden});
    add(layer + "mlp.gate_proj", {inner, hidden});
    add(layer + "mlp.up_proj", {inner, hidden});
    add(layer + "mlp.down_proj", {hidden, inner});
  }
  add("model.norm", {hidden});
  if (!config.tie_embeddings) add("lm_head", {config.vocab_size, hidden});
  return layout;
}

void check_tensors(const std::vector<ParameterSlot>& layout, const std::vector<NamedTensor>& tensors,
                   const std::string& where) {
  std::map<std::string, const at::Tensor*> given;
  for (const auto& [name, tensor] : tensors) {
    require<DataError>(given.emplace(name, &tensor).second, where, ": tensor ", name, " is there twice");
  }
  for (const auto& slot : layout) {
    const auto found = given.find(slot.name);
    require<DataError>(found != given.end(), where, ": tensor ", slot.name, " of shape ", text_of(slot.shape),
                       " is missing");
    const auto shape = found->second->sizes().vec();
    require<DataError>(shape == slot.shape, where, ": tensor ", slot.name, " should be ", text_of(slot.shape),
                       ", it is ", text_of(shape));
    require<DataError>(found->second->is_floating_point(), where, ": tensor ", slot.name, " is of type ",
                       found->second->dtype().name());
    given.erase(found);
  }
  const bool tied = layout.back().name != "lm_head.weight";
  std::erase_if(given, [&](const auto& item) { return may_be_left_out(item.first, tied); });
  if (given.empty()) return;
  const auto& [name, tensor] = *given.begin();
  fail<DataError>(where, ": tensor ", name, " of shape ", text_of(tensor->sizes().vec()),
                  " is not part of this network", given.size() > 1 ? ", nor are others" : "");
}

}  // namespace sluice::model
