// A Hugging Face model directory: config.json, generation_config.json and safetensors.
#pragma once

#include <filesystem>
#include <memory>

#include "model/network.h"

namespace sluice::model {

// Throws DataError naming the file for what is missing or malformed; a missing, extra or misshapen tensor is
// named with both shapes. Weights are widened to float32. Reads one file or shards by their index; a shard
// name with a separator is refused.
ModelConfig read_model_config(const std::filesystem::path& directory);
std::unique_ptr<Network> load_model(const std::filesystem::path& directory, const at::Device& device);

// Writes what transformers opens unmodified (the tokenizer's files are the caller's).
void save_model(const std::filesystem::path& directory, const Network& network);

}  // namespace sluice::model
