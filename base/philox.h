// Counter-based randomness: Philox4x32-10 of "Parallel random numbers: as easy as 1, 2, 3" (Salmon 2011).
//
// A number is a pure function of its key and counter, so it does not depend on who draws it, when, or in
// which batch. The key of a sampled token is (seed, group, sample, position); see promise 2 of
// docs/architecture.md.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace sluice {

// What a stream of numbers is for, so that two uses of one seed never share numbers.
enum class RandomUse : uint32_t { Sampling = 1, Shuffle = 2, Init = 3, Data = 4 };

// The ten rounds; published test vectors are in tests/base/philox_test.cc.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// The 64 bits of (seed, use, a, b): a stream is named by `a` (a group, an epoch), `b` walks along it.
uint64_t random_bits(uint64_t seed, RandomUse use, uint64_t a, uint64_t b);

// Uniform in [0, 1) with 53 bits; `sample` and `position` must be below 2^32.
double random_uniform(uint64_t seed, RandomUse use, uint64_t stream, uint64_t sample, uint64_t position);

// 0 .. n-1 in an order that depends on (seed, epoch) alone (Fisher-Yates).
std::vector<int64_t> shuffled_indices(int64_t n, uint64_t seed, uint64_t epoch);

}  // namespace sluice
