#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/quoted_name.h"
#include "model/internal/safetensors_header.h"
#include "model/lora.h"
#include "model/network.h"
#include "model/safetensors.h"

namespace sluice::model {
namespace {

namespace fs = std::filesystem;

constexpr const char* kConfigFile = "adapter_config.json";
constexpr const char* kWeightsFile = "adapter_model.safetensors";
constexpr const char* kPrefix = "base_model.model.";  // before the name of a module
constexpr const char* kAll = "all-linear";
constexpr size_t kMaxConfigBytes = 1 << 20;

// Keys of adapter_config.json that are read below, or change nothing in what a trained adapter computes.
constexpr std::array<std::string_view, 17> kKeys = {
    "peft_type",     "task_type",         "r",
    "lora_alpha",    "use_rslora",        "target_modules",
    "bias",          "init_lora_weights", "base_model_name_or_path",
    "revision",      "inference_mode",    "fan_in_fan_out",
    "lora_dropout",  "auto_mapping",      "peft_version",
    "megatron_core", "qalora_group_size"};

// null, false, "", [] and {}: the feature of that key is not used.
bool is_unset(const Json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.is_null() || value == Json(false) || (value.is_structured() && value.empty());
}

void require_one_of(const Json& json, const char* key, const std::vector<Json>& values,
                    const std::string& where) {
  if (!json.contains(key) || std::ranges::count(values, json.at(key)) > 0) return;
  std::string list;
  for (const auto& value : values) list += (list.empty() ? "" : ", ") + value.dump();
  fail<DataError>(where, ": ", key, " is ", json.at(key).dump(), ", which is not supported; what is: ", list);
}

std::vector<std::string> read_targets(const Json& json, const std::string& where) {
  require<DataError>(json.contains("target_modules"), where, ": target_modules is missing");
  const Json& value = json.at("target_modules");
  if (value == kAll) return {};
  require<DataError>(!value.is_string(), where, ": target_modules is the pattern ", value.dump(),
                     ", which is not supported; a list of names or \"", kAll, "\" is");
  auto targets = json_member<std::vector<std::string>>(json, "target_modules", where);
  require<DataError>(!targets.empty(), where, ": target_modules is empty");
  return targets;
}

LoraConfig read_config(const fs::path& file) {
  const Json json = read_json(file, {.max_bytes = kMaxConfigBytes});
  const std::string where = file.string();
  require<DataError>(json.is_object(), where, ": not an object");
  require<DataError>(json.contains("peft_type"), where, ": peft_type is missing");
  require_one_of(json, "peft_type", {"LORA"}, where);
  require_one_of(json, "task_type", {"CAUSAL_LM", nullptr}, where);
  require_one_of(json, "bias", {"none"}, where);
  // The other ways to begin change the weights of the model too.
  require_one_of(json, "init_lora_weights", {true, false, "gaussian", "eva", "orthogonal"}, where);
  for (const auto& [key, value] : json.items()) {
    require<DataError>(std::ranges::count(kKeys, key) > 0 || is_unset(value), where, ": ", key, " is ",
                       value.dump(), ", which is not supported");
  }
  LoraConfig lora;
  return {.rank = json_member_or<int64_t>(json, "r", lora.rank, where),
          .alpha = json_member_or<double>(json, "lora_alpha", lora.alpha, where),
          .rslora = json_member_or<bool>(json, "use_rslora", false, where),
          .targets = read_targets(json, where)};
}

// The tensors of the file in the adapter's order, everything checked.
std::vector<const SafetensorsEntry*> match(const SafetensorsFile& file, const Parameters& adapter) {
  const std::string where = file.path().string() + ": tensor ";
  std::map<std::string, const SafetensorsEntry*> entries;
  for (const auto& entry : file.entries()) entries[entry.name] = &entry;
  std::vector<const SafetensorsEntry*> found;
  for (const auto& slot : adapter.slots()) {
    const auto node = entries.extract(kPrefix + slot.name);
    require<DataError>(!node.empty(), where, kPrefix, slot.name, " of shape ", shape_text(slot.shape),
                       " is missing");
    const auto& entry = *node.mapped();
    require<DataError>(entry.shape == slot.shape, where, quoted_name(entry.name), " should be ",
                       shape_text(slot.shape), ", it is ", shape_text(entry.shape));
    require<DataError>(at::isFloatingType(entry.type) && !at::isFloat8Type(entry.type), where,
                       quoted_name(entry.name), " is of type ", c10::toString(entry.type));
    found.push_back(&entry);
  }
  require<DataError>(entries.empty(), where, entries.empty() ? "" : quoted_name(entries.begin()->first),
                     " of shape ", entries.empty() ? "" : shape_text(entries.begin()->second->shape),
                     " is not part of what the target_modules name");
  return found;
}

Json target_modules(const Network& network) {
  if (!network.lora()->targets.empty()) return network.lora()->targets;
  std::set<std::string> names;
  for (const auto& slot : network.trained().slots()) {
    const auto matrix = slot.name.substr(0, slot.name.find(".lora_"));
    names.insert(matrix.substr(matrix.rfind('.') + 1));
  }
  return names;
}

bool is_transposed(const Network& network) {
  return std::ranges::any_of(network.weights().slots(), &ParameterSlot::transposed);
}

}  // namespace

void save_adapter(const fs::path& directory, const Network& network, const std::string& base) {
  require(network.lora().has_value(), "save_adapter: the network has no adapter");
  const auto& lora = *network.lora();
  const Json alpha =
      lora.alpha == std::floor(lora.alpha) ? Json(static_cast<int64_t>(lora.alpha)) : Json(lora.alpha);
  const Json config = {{"base_model_name_or_path", base},
                       {"bias", "none"},
                       {"fan_in_fan_out", is_transposed(network)},
                       {"inference_mode", true},
                       {"init_lora_weights", true},
                       {"lora_alpha", alpha},
                       {"lora_dropout", 0.0},
                       {"modules_to_save", nullptr},
                       {"peft_type", "LORA"},
                       {"r", lora.rank},
                       {"target_modules", target_modules(network)},
                       {"task_type", "CAUSAL_LM"},
                       {"use_dora", false},
                       {"use_rslora", lora.rslora}};
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : network.trained().tensors()) {
    tensors.push_back({kPrefix + name, tensor.detach()});
  }
  fs::create_directories(directory);
  write_safetensors(directory / kWeightsFile, sources_of(tensors, at::kFloat));
  write_file_atomically(directory / kConfigFile, config.dump(2) + "\n");
}

void load_adapter(const fs::path& directory, Network& network) {
  const LoraConfig lora = read_config(directory / kConfigFile);
  const SafetensorsFile file(directory / kWeightsFile);
  // Before the adapter is allocated: its size comes from adapter_config.json, which may say anything.
  const auto entries = match(file, Network::declare_adapter(network.config(), lora));
  network.add_adapter(lora, /*seed=*/0);
  const c10::NoGradGuard no_grad;
  for (size_t i = 0; i < entries.size(); ++i) network.trained()[i].detach().copy_(file.read(*entries[i]));
}

}  // namespace sluice::model
