#include "model/internal/normal_numbers.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "base/philox.h"

namespace sluice::model {
namespace {

constexpr double kTwoTo32 = 4294967296.0;

// Two numbers of Normal(0, 1) from 64 random bits.
std::pair<double, double> normal_pair(uint64_t bits) {
  const double radius_bits = static_cast<double>(bits >> 32) + 0.5;  // never 0
  const double angle_bits = static_cast<double>(bits & 0xffffffffu);
  const double radius = std::sqrt(-2.0 * std::log(radius_bits / kTwoTo32));
  const double angle = 2.0 * std::numbers::pi * angle_bits / kTwoTo32;
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

}  // namespace

void fill_normal(std::span<float> out, double std, uint64_t seed, uint64_t parameter) {
  for (size_t i = 0; i < out.size(); i += 2) {
    const auto [first, second] = normal_pair(random_bits(seed, RandomUse::Init, parameter, i / 2));
    out[i] = static_cast<float>(std * first);
    if (i + 1 < out.size()) out[i + 1] = static_cast<float>(std * second);
  }
}

}  // namespace sluice::model
