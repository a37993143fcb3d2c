#include "sft/embedding_noise.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/philox.h"

namespace sluice::sft {
namespace {

constexpr uint64_t kNoise = 3;  // a sample of RandomUse::Data, beside those of ExampleOrder

// Uniform in -1 .. 1, with the 24 bits that a float32 has.
float uniform(uint32_t bits) { return std::ldexp(static_cast<float>(bits >> 8), -23) - 1.0f; }

}  // namespace

at::Tensor embedding_noise(const SupervisedBatch& pack, int64_t width, int64_t step,
                           const NoiseOptions& options) {
  const uint64_t bits = random_bits(options.seed, RandomUse::Data, static_cast<uint64_t>(step), kNoise << 32);
  const std::array key = {static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32)};
  auto noise = at::empty({pack.batch.num_rows(), width}, at::kFloat);
  auto* out = noise.mutable_data_ptr<float>();
  for (size_t s = 0; s < pack.examples.size(); ++s) {
    const int64_t length = pack.batch.starts[s + 1] - pack.batch.starts[s];
    const auto most = static_cast<float>(options.alpha / std::sqrt(static_cast<double>(length * width)));
    for (int64_t row = 0; row < length; ++row, out += width) {
      for (int64_t first = 0; first < width; first += 4) {
        const auto four = philox4x32({static_cast<uint32_t>(first / 4), static_cast<uint32_t>(row),
                                      static_cast<uint32_t>(pack.examples[s]), 0},
                                     key);
        const auto count = static_cast<size_t>(std::min<int64_t>(4, width - first));
        for (size_t i = 0; i < count; ++i) out[first + static_cast<int64_t>(i)] = most * uniform(four[i]);
      }
    }
  }
  return noise.to(pack.batch.tokens.device());
}

}  // namespace sluice::sft
