#include "model/internal/rope.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace sluice::model {
namespace {

constexpr int64_t kFirstPositions = 1024;

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

// YaRN (2023): pairs that turn often keep their frequency, those that turn rarely are stretched.
struct YarnRamp {
  double low, high;

  explicit YarnRamp(const RopeConfig& rope) {
    const auto dim = static_cast<double>(rope.rotary_dim);
    const auto pair_that_turns = [&](double times) {
      return dim *
             std::log(static_cast<double>(rope.original_max_position) / (times * 2 * std::numbers::pi)) /
             (2 * std::log(rope.theta));
    };
    low = pair_that_turns(rope.beta_fast);
    high = pair_that_turns(rope.beta_slow);
    if (rope.truncate) {
      low = std::floor(low);
      high = std::ceil(high);
    }
    low = std::max(low, 0.0);
    high = std::min(high, dim - 1);
    if (low == high) high += 0.001;
  }
  double stretched(int64_t pair) const {
    return std::clamp((static_cast<double>(pair) - low) / (high - low), 0.0, 1.0);
  }
};

// The base of dynamic NTK: it grows with the sequence once that is longer than the network was trained for.
double dynamic_theta(const RopeConfig& rope, int64_t length) {
  const auto dim = static_cast<double>(rope.rotary_dim),
             original = static_cast<double>(rope.original_max_position);
  const double now = std::max(static_cast<double>(length), original);
  return rope.theta * std::pow(rope.factor * now / original - (rope.factor - 1), dim / (dim - 2));
}

void fill_row(int64_t position, const std::vector<double>& frequencies, double scale, float* cos,
              float* sin) {
  for (const double frequency : frequencies) {
    // Rounded to float32 first, as the networks were trained with.
    const float angle = static_cast<float>(position) * static_cast<float>(frequency);
    *cos++ = static_cast<float>(std::cos(static_cast<double>(angle)) * scale);
    *sin++ = static_cast<float>(std::sin(static_cast<double>(angle)) * scale);
  }
}

}  // namespace

std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t length) {
  const double theta = rope.type == "dynamic" ? dynamic_theta(rope, length) : rope.theta;
  const YarnRamp ramp(rope);
  const auto& factors = length > rope.original_max_position ? rope.long_factor : rope.short_factor;
  std::vector<double> frequencies;
  for (int64_t pair = 0; pair < rope.rotary_dim / 2; ++pair) {
    const double base =
        std::pow(theta, -2.0 * static_cast<double>(pair) / static_cast<double>(rope.rotary_dim));
    double frequency = base;
    if (rope.type == "linear") frequency = base / rope.factor;
    if (rope.type == "llama3") frequency = llama3_frequency(base, rope);
    if (rope.type == "yarn") {
      const double share = ramp.stretched(pair);
      frequency = base / rope.factor * share + base * (1 - share);
    }
    if (rope.type == "longrope") frequency = base / factors[static_cast<size_t>(pair)];
    frequencies.push_back(frequency);
  }
  return frequencies;
}

Rope::Rope(const RopeConfig& config, const at::Device& device) : config_(config), device_(device) {}

RopeTables Rope::tables(const PackedBatch& batch, int64_t max_position) {
  if (config_.depends_on_length()) return by_length(batch);
  const auto [cos, sin] = reaching(max_position);
  return {cos, sin, batch.positions};
}

std::pair<const at::Tensor&, const at::Tensor&> Rope::reaching(int64_t max_position) {
  if (!cos_.defined() || max_position >= cos_.size(0)) {
    grow(std::max(kFirstPositions,
                  static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(max_position) + 1))));
  }
  return {cos_, sin_};
}

void Rope::grow(int64_t positions) {
  // They outlive the call, which may be an actor's that never wants gradients; the next may be a learner's.
  const c10::InferenceMode ordinary(false);
  const auto frequencies = rope_frequencies(config_, 0);
  const auto half = std::ssize(frequencies);
  auto cos = at::empty({positions, half}, at::kFloat), sin = at::empty({positions, half}, at::kFloat);
  for (int64_t position = 0; position < positions; ++position) {
    fill_row(position, frequencies, config_.table_scale, cos.mutable_data_ptr<float>() + position * half,
             sin.mutable_data_ptr<float>() + position * half);
  }
  cos_ = cos.to(device_);
  sin_ = sin.to(device_);
}

// Each sequence has frequencies of its own, so each row of the batch has a row of the tables.
RopeTables Rope::by_length(const PackedBatch& batch) const {
  const auto positions = batch.positions.cpu().contiguous();
  const auto* position = positions.const_data_ptr<int64_t>();
  const int64_t half = config_.rotary_dim / 2, rows = batch.num_rows();
  auto cos = at::empty({rows, half}, at::kFloat), sin = at::empty({rows, half}, at::kFloat);
  std::vector<double> frequencies;
  for (size_t s = 0; s < batch.prefix.size(); ++s) {
    const int64_t first = batch.starts[s], end = batch.starts[s + 1];
    if (first == end) continue;
    const bool given = !batch.final_lengths.empty();
    frequencies = rope_frequencies(config_, given ? batch.final_lengths[s] : position[end - 1] + 1);
    for (int64_t row = first; row < end; ++row) {
      fill_row(position[row], frequencies, config_.table_scale, cos.mutable_data_ptr<float>() + row * half,
               sin.mutable_data_ptr<float>() + row * half);
    }
  }
  return {cos.to(device_), sin.to(device_), at::arange(rows, batch.positions.options())};
}

}  // namespace sluice::model
