// The safetensors format: a header that names tensors, then their bytes.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "model/weight_snapshot.h"

namespace sluice::model {

// Reads every tensor of a file through a mapping; F32, F16, BF16, I64, I32, U8 and BOOL. The tensors own
// their memory. Throws DataError naming the file for a torn file, a header over 100 MB, a duplicate name, an
// unknown type, overlapping or missing bytes, and sizes that overflow: all checked before anything is
// allocated.
std::vector<NamedTensor> read_safetensors(const std::filesystem::path& file);

// Temporary name, fsync, rename. Tensors are written as they are; `metadata` gets {"format": "pt"} added.
void write_safetensors(const std::filesystem::path& file, const std::vector<NamedTensor>& tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace sluice::model
