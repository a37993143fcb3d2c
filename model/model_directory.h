// A Hugging Face model directory: config.json, generation_config.json and safetensors.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/network.h"

namespace sluice::model {

// What config.json and --dtype call a type: float32, bfloat16, float16, float64; float8 for both kinds.
std::string dtype_name(at::ScalarType type);
// The type of such a name; nothing for another and for float8.
std::optional<at::ScalarType> dtype_named(std::string_view name);

struct LoadOptions {
  at::ScalarType dtype = at::kFloat;            // what weights are kept in, whatever the directory stores
  bool scalar_head = false;                     // a directory of this kind, or it is refused
  std::vector<std::string>* notices = nullptr;  // one sentence for each thing that was left out or changed
};

// Throws DataError naming the file for what is missing or malformed; a missing, extra or misshapen tensor is
// named with both shapes, before anything is allocated. The ids that end a generation are those of
// config.json and generation_config.json together.
ModelConfig read_model_config(const std::filesystem::path& directory);
// What load_model() throws for a directory of that kind, found from the headers alone: no tensor is read or
// allocated.
void check_model(const std::filesystem::path& directory, bool scalar_head = false);
std::unique_ptr<Network> load_model(const std::filesystem::path& directory, const at::Device& device,
                                    const LoadOptions& options = {});

struct SaveOptions {
  // What floating-point tensors are written in, buffers always in float32; nothing: what each was loaded from
  // (float32 for F8).
  std::optional<at::ScalarType> dtype;
};

// Writes what transformers opens unmodified, adapters merged in (the tokenizer's files are the caller's).
void save_model(const std::filesystem::path& directory, const Network& network, const SaveOptions& options);

}  // namespace sluice::model
