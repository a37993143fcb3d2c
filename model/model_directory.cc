#include "model/model_directory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/families/family.h"
#include "model/float8.h"
#include "model/internal/weight_map.h"
#include "model/weight_files.h"

namespace sluice::model {
namespace {

constexpr const char* kGeneration = "generation_config.json";

constexpr std::pair<at::ScalarType, const char*> kDtypes[] = {
    {at::kFloat, "float32"}, {at::kBFloat16, "bfloat16"}, {at::kHalf, "float16"}, {at::kDouble, "float64"}};

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
