#include "model/model_directory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/quoted_name.h"
#include "model/families/family.h"
#include "model/float8.h"
#include "model/weight_files.h"

namespace sluice::model {
namespace {

constexpr const char* kGeneration = "generation_config.json";
constexpr std::string_view kScale = "_scale_inv";  // after the name of an F8 tensor

constexpr std::pair<at::ScalarType, const char*> kDtypes[] = {
    {at::kFloat, "float32"}, {at::kBFloat16, "bfloat16"}, {at::kHalf, "float16"}, {at::kDouble, "float64"}};

bool is_float8(at::ScalarType type) { return type == at::kFloat8_e4m3fn || type == at::kFloat8_e5m2; }

// The ids that end a generation are in either file; servers stop at any of them.
void add_generation_config(const std::filesystem::path& file, ModelConfig& config) {
  if (!std::filesystem::exists(file)) return;
  Json json = read_json(file);
  require<DataError>(json.is_object(), file.string(), ": not an object");
  if (json.contains("eos_token_id")) {
    const Json& value = json.at("eos_token_id");
    for (const Json& id : value.is_array() ? value : Json::array({value})) {
      const auto eos = checked_token(id, "eos_token_id", config, file.string());
      if (eos && std::ranges::count(config.eos_ids, *eos) == 0) config.eos_ids.push_back(*eos);
    }
  }
  config.generation = std::move(json);
}

Json generation_config(const ModelConfig& config, const Json& written) {
  Json json = config.generation.is_object() ? config.generation : Json{{"_from_model_config", true}};
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    if (!written.at(key).is_null()) json[key] = written.at(key);
  }
  return json;
}

// Which tensor of the files each parameter is, everything checked. `dtype` is what they are loaded into.
class WeightMap {
 public:
  WeightMap(const std::filesystem::path& directory, const ModelConfig& config, at::ScalarType dtype)
      : files_(directory),
        config_(config),
        dtype_(dtype),
        parameters_(Network::declare(config)),
        where_(directory.string()) {
    std::set<std::string> used;
    for (const auto& slot : parameters_.slots()) used.insert(check_slot(slot));
    for (const auto& entry : files_.entries()) {
      if (!used.contains(entry.name)) check_extra(entry, used);
    }
  }

  const std::vector<std::string>& notices() const { return notices_; }
  at::ScalarType stored_type(const ParameterSlot& slot) const {
    const auto type = files_.entry(stored_name(slot)).type;
    return is_float8(type) ? at::kFloat : type;
  }

  // A tensor in the order the network wants it.
  at::Tensor read(const ParameterSlot& slot) const {
    const std::string name = stored_name(slot);
    auto tensor = files_.read(name);
    if (is_float8(tensor.scalar_type())) {
      const auto [rows, columns] = *config_.float8_block;
      tensor = dequantise_blocks(tensor, files_.read(name + std::string(kScale)), rows, columns);
    }
    return slot.transposed ? tensor.t() : tensor;
  }

 private:
  // Some files name the tensors of the network without what it is called in the model with a head.
  std::string stored_name(const ParameterSlot& slot) const {
    const auto prefix = config_.family->base_prefix;
    if (!prefix.empty() && !files_.contains(slot.name) && slot.name.starts_with(prefix)) {
      return slot.name.substr(prefix.size());
    }
    return slot.name;
  }

  std::string check_slot(const ParameterSlot& slot) {
    const std::string name = stored_name(slot);
    require<DataError>(files_.contains(name), where_, ": tensor ", slot.name, " of shape ",
                       shape_text(slot.stored_shape()), " is missing");
    const auto& entry = files_.entry(name);
    require<DataError>(entry.shape == slot.stored_shape(), files_.where(name), " should be ",
                       shape_text(slot.stored_shape()), ", it is ", shape_text(entry.shape));
    require<DataError>(at::isFloatingType(entry.type), files_.where(name), " is of type ",
                       c10::toString(entry.type));
    if (is_float8(entry.type)) check_scale(entry);
    if (entry.type == at::kDouble && dtype_ != at::kDouble) {
      add_notice("F64 weights are rounded to " + dtype_name(dtype_) +
                 ", and what is saved as F64 has the rounded numbers");
    }
    return name;
  }

  // That an F8 tensor has the scales of its blocks.
  void check_scale(const WeightEntry& entry) {
    const std::string where = files_.where(entry.name), scale = entry.name + std::string(kScale);
    require<DataError>(config_.float8_block.has_value(), where, " is of type ", c10::toString(entry.type),
                       ", and config.json has no quantization_config");
    require<DataError>(entry.shape.size() == 2, where, " is of type ", c10::toString(entry.type),
                       " and shape ", shape_text(entry.shape), "; only matrices have blocks");
    require<DataError>(files_.contains(scale), where, ": its scales ", quoted_name(scale), " are missing");
    const auto& scales = files_.entry(scale);
    const auto blocks = [&](size_t i) {
      const int64_t size = entry.shape[i], block = (*config_.float8_block)[i];
      return size / block + (size % block != 0 ? 1 : 0);
    };
    const std::vector<int64_t> wanted{blocks(0), blocks(1)};
    require<DataError>(scales.shape == wanted, files_.where(scale), " should be ", shape_text(wanted),
                       ", it is ", shape_text(scales.shape));
    require<DataError>(at::isFloatingType(scales.type) && !is_float8(scales.type), files_.where(scale),
                       " is of type ", c10::toString(scales.type));
    add_notice("F8 weights are widened to float32 with their block scales, and saved so");
  }

  void check_extra(const WeightEntry& entry, const std::set<std::string>& used) {
    const std::string& name = entry.name;
    if (name.ends_with("rotary_emb.inv_freq")) {
      return add_notice(
          "rotary frequencies are worked out from config.json, those of the file are not loaded");
    }
    if (config_.tie_embeddings && name == std::string(config_.family->names.head) + ".weight") {
      return add_notice("embeddings are tied, so the file's " + name + " is not loaded");
    }
    if (name.ends_with(kScale) && used.contains(name.substr(0, name.size() - kScale.size()))) return;
    const std::string reason =
        config_.family->skipped == nullptr ? "" : config_.family->skipped(name, config_);
    require<DataError>(!reason.empty(), files_.where(name), " of shape ", shape_text(entry.shape),
                       " is not part of this network");
    add_notice(reason);
  }

  void add_notice(const std::string& notice) {
    if (std::ranges::count(notices_, notice) == 0) notices_.push_back(notice);
  }

  const WeightFiles files_;
  const ModelConfig& config_;
  const at::ScalarType dtype_;
  const Parameters parameters_;
  const std::string where_;
  std::vector<std::string> notices_;
};

void check_head(const std::filesystem::path& directory, const ModelConfig& config, bool scalar) {
  require<DataError>(
      config.scalar_head || !scalar, directory.string(), ": ", std::string(config.family->architecture),
      " has logits; a reward model is a directory of ", std::string(config.family->classifier));
  require<DataError>(scalar || !config.scalar_head, directory.string(), ": ",
                     std::string(config.family->classifier),
                     " gives scores, it is a reward model and no policy; a policy is a directory of ",
                     std::string(config.family->architecture));
}

// What most numbers of the network are written in.
at::ScalarType main_type(const Parameters& weights, const SaveOptions& options) {
  if (options.dtype) return *options.dtype;
  std::map<at::ScalarType, int64_t> numbers;
  for (const auto& slot : weights.slots()) numbers[slot.stored_type] += slot.count;
  return std::ranges::max_element(numbers, {}, [](const auto& item) { return item.second; })->first;
}

}  // namespace

std::string dtype_name(at::ScalarType type) {
  if (is_float8(type)) return "float8";
  for (const auto& [known, name] : kDtypes) {
    if (known == type) return name;
  }
  return c10::toString(type);
}

std::optional<at::ScalarType> dtype_named(std::string_view name) {
  for (const auto& [type, known] : kDtypes) {
    if (known == name) return type;
  }
  return std::nullopt;
}

ModelConfig read_model_config(const std::filesystem::path& directory) {
  const auto file = directory / "config.json";
  require<DataError>(std::filesystem::exists(file), directory.string(),
                     ": not a model directory, it has no config.json");
  auto config = model_config_from_json(read_json(file), file.string());
  add_generation_config(directory / kGeneration, config);
  return config;
}

void check_model(const std::filesystem::path& directory, bool scalar_head) {
  const auto config = read_model_config(directory);
  check_head(directory, config, scalar_head);
  WeightMap(directory, config, at::kFloat);
}

std::unique_ptr<Network> load_model(const std::filesystem::path& directory, const at::Device& device,
                                    const LoadOptions& options) {
  const auto config = read_model_config(directory);
  check_head(directory, config, options.scalar_head);
  // Before the network is allocated: its size comes from config.json, which may say anything.
  const WeightMap files(directory, config, options.dtype);
  if (options.notices != nullptr) {
    for (const auto& notice : files.notices()) options.notices->push_back(directory.string() + ": " + notice);
  }
  auto network = std::make_unique<Network>(config, device, options.dtype);
  network->load([&](const ParameterSlot& slot) { return files.read(slot); },
                [&](const ParameterSlot& slot) { return files.stored_type(slot); });
  return network;
}

void save_model(const std::filesystem::path& directory, const Network& network, const SaveOptions& options) {
  std::filesystem::create_directories(directory);
  const auto& config = network.config();
  const auto& weights = network.weights();
  const Json json = model_config_to_json(config, dtype_name(main_type(weights, options)));
  write_file_atomically(directory / "config.json", json.dump(2) + "\n");
  write_file_atomically(directory / kGeneration, generation_config(config, json).dump(2) + "\n");

  const at::Tensor flat = network.merged_flat();
  std::vector<TensorSource> tensors;
  for (size_t i = 0; i < weights.slots().size(); ++i) {
    const auto& slot = weights.slots()[i];
    // A buffer may have memory of its own, and rounding it would lose what it is for.
    const bool buffer = slot.kind == ParameterKind::Buffer;
    auto type = options.dtype.value_or(slot.stored_type);
    if (buffer && options.dtype) type = at::kFloat;
    const auto values =
        buffer ? weights[i].detach() : flat.narrow(0, slot.offset, slot.count).view(slot.shape);
    tensors.push_back(
        {.name = slot.name, .type = type, .shape = slot.stored_shape(), .produce = [&slot, values, type] {
           const auto tensor = values.to(type);
           return slot.transposed ? tensor.t().contiguous() : tensor;
         }});
  }
  write_sharded(directory, tensors);
}

}  // namespace sluice::model
