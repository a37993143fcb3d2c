#include "base/philox.h"

#include <numeric>
#include <utility>

#include "base/error.h"

namespace sluice {
namespace {

// The multipliers and Weyl constants of Salmon et al. 2011, section 3.3.
constexpr uint32_t kMultiplier0 = 0xD2511F53;
constexpr uint32_t kMultiplier1 = 0xCD9E8D57;
constexpr uint32_t kWeyl0 = 0x9E3779B9;
constexpr uint32_t kWeyl1 = 0xBB67AE85;
constexpr int kRounds = 10;

constexpr uint32_t low(uint64_t value) { return static_cast<uint32_t>(value); }
constexpr uint32_t high(uint64_t value) { return static_cast<uint32_t>(value >> 32); }

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t product0 = uint64_t{kMultiplier0} * counter[0];
    const uint64_t product1 = uint64_t{kMultiplier1} * counter[2];
    counter = {high(product1) ^ counter[1] ^ key[0], low(product1), high(product0) ^ counter[3] ^ key[1],
               low(product0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return counter;
}

// Key: the seed, low word first. Counter: [b low, b high, a low, a high ^ (use << 24)]. The use sits in the
// top byte of `a`, so two uses share no number as long as streams are named by numbers below 2^56.
uint64_t random_bits(uint64_t seed, RandomUse use, uint64_t a, uint64_t b) {
  const auto block = philox4x32({low(b), high(b), low(a), high(a) ^ (static_cast<uint32_t>(use) << 24)},
                                {low(seed), high(seed)});
  return block[0] | (uint64_t{block[1]} << 32);
}

// The stream is `a`; the sample is the high word of `b`, the position its low word.
double random_uniform(uint64_t seed, RandomUse use, uint64_t stream, uint64_t sample, uint64_t position) {
  require(high(sample) == 0 && high(position) == 0, "random_uniform: sample ", sample, " or position ",
          position, " is not below 2^32");
  return static_cast<double>(random_bits(seed, use, stream, (sample << 32) | position) >> 11) * 0x1p-53;
}

std::vector<int64_t> shuffled_indices(int64_t n, uint64_t seed, uint64_t epoch) {
  require(n >= 0, "shuffled_indices: n is ", n);
  std::vector<int64_t> indices(static_cast<size_t>(n));
  std::iota(indices.begin(), indices.end(), 0);
  for (size_t i = indices.size(); i > 1; --i) {
    // bits * i / 2^64: below i, and off uniform by less than i / 2^64.
    const auto bits = static_cast<unsigned __int128>(random_bits(seed, RandomUse::Shuffle, epoch, i));
    std::swap(indices[i - 1], indices[static_cast<size_t>((bits * i) >> 64)]);
  }
  return indices;
}

}  // namespace sluice
