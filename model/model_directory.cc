#include "model/model_directory.h"

#include <algorithm>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "model/internal/parameter_layout.h"
#include "model/safetensors.h"

namespace sluice::model {
namespace {

constexpr const char* kWeights = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

std::vector<NamedTensor> read_shards(const std::filesystem::path& directory,
                                     const std::filesystem::path& index) {
  const Json json = read_json(index);
  const std::string where = index.string();
  require<DataError>(json.is_object() && json.contains("weight_map") && json.at("weight_map").is_object(),
                     where, ": no object \"weight_map\"");
  std::map<std::string, std::set<std::string>> names_of_shard;
  for (const auto& [name, shard] : json.at("weight_map").items()) {
    require<DataError>(shard.is_string(), where, ": the shard of tensor ", name, " is not a string");
    const auto file = shard.get<std::string>();
    require<DataError>(file.find_first_of("/\\") == std::string::npos && file.ends_with(".safetensors"),
                       where, ": the shard of tensor ", name,
                       " must be a .safetensors file of this directory, saw \"", file, "\"");
    names_of_shard[file].insert(name);
  }
  std::vector<NamedTensor> tensors;
  for (auto& [shard, names] : names_of_shard) {
    for (auto& tensor : read_safetensors(directory / shard)) {
      require<DataError>(names.erase(tensor.name) == 1, where, ": tensor ", tensor.name, " of ", shard,
                         " is not listed for it");
      tensors.push_back(std::move(tensor));
    }
    require<DataError>(names.empty(), where, ": tensor ", *names.begin(), " is not in ", shard);
  }
  return tensors;
}

// The ids that end a generation are in either file; servers stop at any of them.
void add_generation_config(const std::filesystem::path& file, ModelConfig& config) {
  if (!std::filesystem::exists(file)) return;
  const Json json = read_json(file);
  require<DataError>(json.is_object(), file.string(), ": not an object");
  if (!json.contains("eos_token_id")) return;
  const Json& value = json.at("eos_token_id");
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    if (id.is_null()) continue;
    require<DataError>(id.is_number_integer() && id >= 0 && id < config.vocab_size, file.string(),
                       ": eos_token_id is ", id.dump(), ", vocab_size is ", config.vocab_size);
    const auto eos = id.get<int64_t>();
    auto& ids = config.eos_ids;
    if (std::find(ids.begin(), ids.end(), eos) == ids.end()) ids.push_back(eos);
  }
}

Json generation_config(const Json& config) {
  Json json{{"_from_model_config", true}};
  for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id"}) {
    if (!config.at(key).is_null()) json[key] = config.at(key);
  }
  return json;
}

}  // namespace

ModelConfig read_model_config(const std::filesystem::path& directory) {
  const auto file = directory / "config.json";
  require<DataError>(std::filesystem::exists(file), directory.string(),
                     ": not a model directory, it has no config.json");
  auto config = model_config_from_json(read_json(file), file.string());
  add_generation_config(directory / "generation_config.json", config);
  return config;
}

std::unique_ptr<Network> load_model(const std::filesystem::path& directory, const at::Device& device) {
  const auto config = read_model_config(directory);
  const auto file = directory / kWeights, index = directory / kIndex;
  const bool whole = std::filesystem::exists(file);
  require<DataError>(whole || std::filesystem::exists(index), directory.string(), ": neither ", kWeights,
                     " nor ", kIndex, " is there");
  const auto tensors = whole ? read_safetensors(file) : read_shards(directory, index);
  // Before the network is allocated: its size comes from config.json, which may say anything.
  check_tensors(parameter_layout(config), tensors, (whole ? file : index).string());
  auto network = std::make_unique<Network>(config, device);
  network->load(tensors);
  return network;
}

void save_model(const std::filesystem::path& directory, const Network& network) {
  std::filesystem::create_directories(directory);
  const Json config = model_config_to_json(network.config());
  write_file_atomically(directory / "config.json", config.dump(2) + "\n");
  write_file_atomically(directory / "generation_config.json", generation_config(config).dump(2) + "\n");
  write_safetensors(directory / kWeights, network.parameters());
}

}  // namespace sluice::model
