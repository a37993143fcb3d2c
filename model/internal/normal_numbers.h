// Numbers that weights start from.
#pragma once

#include <cstdint>
#include <span>

namespace sluice::model {

// Fills `out` with Normal(0, std) by Philox (Box and Muller 1958), a function of (seed, parameter) alone.
void fill_normal(std::span<float> out, double std, uint64_t seed, uint64_t parameter);

}  // namespace sluice::model
