// CRC-32C (Castagnoli), the checksum of a frame and of a journal record.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

// Continues from `seed`, the value of what came before (0 at the start).
uint32_t crc32c(std::string_view bytes, uint32_t seed = 0);

}  // namespace sluice
