#include "model/internal/rope_table.h"

#include <ATen/ATen.h>

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace sluice::model {
namespace {

// Llama 3.1: long wavelengths are stretched, short ones kept, those between blended.
double llama3_frequency(double frequency, const RopeConfig& rope) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  const auto original = static_cast<double>(rope.original_max_position);
  if (wavelength > original / rope.low_freq_factor) return frequency / rope.factor;
  if (wavelength < original / rope.high_freq_factor) return frequency;
  const double kept =
      (original / wavelength - rope.low_freq_factor) / (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - kept) * frequency / rope.factor + kept * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t head_dim) {
  std::vector<double> frequencies;
  for (int64_t j = 0; j < head_dim; j += 2) {
    const double base = std::pow(rope.theta, -static_cast<double>(j) / static_cast<double>(head_dim));
    if (rope.type == "default") {
      frequencies.push_back(base);
    } else if (rope.type == "linear") {
      frequencies.push_back(base / rope.factor);
    } else if (rope.type == "llama3") {
      frequencies.push_back(llama3_frequency(base, rope));
    } else {
      fail("rope: unknown type \"", rope.type, "\"");
    }
  }
  return frequencies;
}

std::tuple<at::Tensor, at::Tensor> rope_tables(const RopeConfig& rope, int64_t head_dim, int64_t max_position,
                                               const at::Device& device) {
  const auto frequencies = rope_frequencies(rope, head_dim);
  const auto half = static_cast<int64_t>(frequencies.size());
  auto cos = at::empty({max_position, half}, at::kFloat), sin = at::empty({max_position, half}, at::kFloat);
  auto* c = cos.mutable_data_ptr<float>();
  auto* s = sin.mutable_data_ptr<float>();
  for (int64_t position = 0; position < max_position; ++position) {
    for (const double frequency : frequencies) {
      const float angle = static_cast<float>(position) * static_cast<float>(frequency);
      *c++ = static_cast<float>(std::cos(static_cast<double>(angle)));
      *s++ = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
  return {cos.to(device), sin.to(device)};
}

}  // namespace sluice::model
