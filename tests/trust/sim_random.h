// Chance that a seed repeats.
#pragma once

#include <cstdint>

namespace sluice::trust {

// SplitMix64 (Steele, Lea, Flood 2014).
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}

  uint64_t bits() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  int64_t below(int64_t n) { return static_cast<int64_t>(bits() % static_cast<uint64_t>(n)); }
  bool chance(double p) { return static_cast<double>(bits() >> 11) * 0x1.0p-53 < p; }

 private:
  uint64_t state_;
};

// Mixes a number into a hash of 48 bits.
inline uint64_t mixed(uint64_t hash, uint64_t value) {
  return SimRandom(hash ^ (value * 0xff51afd7ed558ccd)).bits() >> 16;
}

}  // namespace sluice::trust
