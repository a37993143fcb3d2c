#include "model/model_directory.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/families/family.h"
#include "model/float8.h"
#include "model/weight_files.h"

namespace sluice::model {
namespace {

constexpr const char* kGeneration = "generation_config.json";
constexpr std::string_view kScale = "_scale_inv";  // after the name of an F8 tensor

bool is_float8(at::ScalarType type) { return type == at::kFloat8_e4m3fn || type == at::kFloat8_e5m2; }

// The ids that end a generation are in either file; servers stop at any of them.
void add_generation_config(const std::filesystem::path& file, ModelConfig& config) {
  if (!std::filesystem::exists(file)) return;
  Json json = read_json(file);
  require<DataError>(json.is_object(), file.string(), ": not an object");
  if (json.contains("eos_token_id")) {
    const Json& value = json.at("eos_token_id");
    for (const Json& id : value.is_array() ? value : Json::array({value})) {
      if (id.is_null()) continue;
      require<DataError>(id.is_number_integer() && id >= 0 && id < config.vocab_size, file.string(),
                         ": eos_token_id is ", id.dump(), ", vocab_size is ", config.vocab_size);
      const auto eos = id.get<int64_t>();
      if (std::ranges::count(config.eos_ids, eos) == 0) config.eos_ids.push_back(eos);
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

// Which tensor of the files each parameter is, everything checked.
class WeightMap {
 public:
  WeightMap(const std::filesystem::path& directory, const ModelConfig& config)
      : files_(directory),
        config_(config),
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
      const auto block =
          config_.source.at("quantization_config").at("weight_block_size").get<std::vector<int64_t>>();
      tensor = dequantise_blocks(tensor, files_.read(name + std::string(kScale)), block[0], block[1]);
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
    if (!is_float8(entry.type)) return name;
    require<DataError>(config_.source.contains("quantization_config"), files_.where(name), " is of type ",
                       c10::toString(entry.type), ", and config.json has no quantization_config");
    require<DataError>(files_.contains(name + std::string(kScale)), files_.where(name), ": ", name, kScale,
                       " is missing");
    add_notice("F8 weights are widened to float32 with their block scales, and saved so");
    return name;
  }

  void check_extra(const WeightEntry& entry, const std::set<std::string>& used) {
    const std::string& name = entry.name;
    if (name.ends_with("rotary_emb.inv_freq")) return;
    if (config_.tie_embeddings && name == std::string(config_.family->names.head) + ".weight") return;
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
  const Parameters parameters_;
  const std::string where_;
  std::vector<std::string> notices_;
};

const char* name_of(at::ScalarType type) {
  switch (type) {
    case at::kBFloat16:
      return "bfloat16";
    case at::kHalf:
      return "float16";
    case at::kDouble:
      return "float64";
    default:
      return "float32";
  }
}

// What most numbers of the network are written in.
at::ScalarType main_type(const Parameters& weights, const SaveOptions& options) {
  if (options.dtype) return *options.dtype;
  std::map<at::ScalarType, int64_t> numbers;
  for (const auto& slot : weights.slots()) numbers[slot.stored_type] += slot.count;
  return std::ranges::max_element(numbers, {}, [](const auto& item) { return item.second; })->first;
}

}  // namespace

ModelConfig read_model_config(const std::filesystem::path& directory) {
  const auto file = directory / "config.json";
  require<DataError>(std::filesystem::exists(file), directory.string(),
                     ": not a model directory, it has no config.json");
  auto config = model_config_from_json(read_json(file), file.string());
  add_generation_config(directory / kGeneration, config);
  return config;
}

std::unique_ptr<Network> load_model(const std::filesystem::path& directory, const at::Device& device,
                                    const LoadOptions& options) {
  const auto config = read_model_config(directory);
  // Before the network is allocated: its size comes from config.json, which may say anything.
  const WeightMap files(directory, config);
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
  const Json json = model_config_to_json(config, name_of(main_type(weights, options)));
  write_file_atomically(directory / "config.json", json.dump(2) + "\n");
  write_file_atomically(directory / kGeneration, generation_config(config, json).dump(2) + "\n");

  const at::Tensor flat = network.merged_flat();
  std::vector<TensorSource> tensors;
  for (const auto& slot : weights.slots()) {
    const auto type = options.dtype.value_or(slot.stored_type);
    tensors.push_back(
        {.name = slot.name, .type = type, .shape = slot.stored_shape(), .produce = [&slot, flat, type] {
           const auto tensor = flat.narrow(0, slot.offset, slot.count).view(slot.shape).to(type);
           return slot.transposed ? tensor.t().contiguous() : tensor;
         }});
  }
  write_sharded(directory, tensors);
}

}  // namespace sluice::model
