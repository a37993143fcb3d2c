// The header of a safetensors file: parsed, and checked against the size of the file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "model/safetensors.h"

namespace sluice::model {

// `file` is all of the file's bytes. Every entry returned lies inside them and is as long as its shape says.
// Throws DataError starting with `where`. Needs memory for the entries and no more, and time linear in the
// header but for sorting the names.
std::vector<SafetensorsEntry> parse_safetensors_header(std::string_view file, const std::string& where);

// How the format calls a type; throws Error for one it is not written in.
std::string safetensors_type_name(at::ScalarType type);

}  // namespace sluice::model
