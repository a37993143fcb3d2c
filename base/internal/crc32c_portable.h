// The table-driven CRC-32C, for machines without the instruction and for checking the other one.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::internal {

uint32_t crc32c_portable(std::string_view bytes, uint32_t seed);

}  // namespace sluice::internal
