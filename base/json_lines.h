// Files of one JSON object per line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "base/json.h"

namespace sluice {

// Calls `visit` with every line that is not blank, in order; lines count from 1. Throws DataError
// "file:line: ..." for a line that is not one JSON object, and for a file that cannot be read.
void for_each_json_line(const std::filesystem::path& file,
                        const std::function<void(int64_t line, Json row)>& visit);

// The same of a file that somebody may be writing to: a last line without its end is left out, and a file
// that is not there yet has no line.
void for_each_whole_json_line(const std::filesystem::path& file,
                              const std::function<void(int64_t line, Json row)>& visit);

}  // namespace sluice
