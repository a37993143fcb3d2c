// The header of a safetensors file: parsed, and checked against the size of the file.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::model {

struct SafetensorsEntry {
  std::string name;
  at::ScalarType type{};
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // from the first byte of the file
};

// `file` is all of the file's bytes. Every entry returned lies inside them and is as long as its shape says.
// Throws DataError starting with `where`.
std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view file, const std::string& where);

// How the format calls a type; throws Error for one it is not written in.
std::string safetensors_type_name(at::ScalarType type);

}  // namespace sluice::model
