// Rotary frequencies, and the cosines and sines of a batch (spec section 15).
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "model/model_config.h"
#include "model/packed_batch.h"

namespace sluice::model {

// theta^(-2j/rotary_dim), scaled as the configuration says, for a sequence of `length` positions:
// [rotary_dim / 2].
std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t length);

// What operators.h's rope() takes: cos and sin [positions, rotary_dim / 2] float32, and the row of them for
// each row of the batch, [rows] int64.
struct RopeTables {
  at::Tensor cos, sin, rows;
};

// Tables by position, made as far as they are asked for. Not safe from several threads at once.
class Rope {
 public:
  Rope(const RopeConfig& config, const at::Device& device);
  const RopeConfig& config() const { return config_; }

  // `max_position` is the highest of the batch.
  RopeTables tables(const PackedBatch& batch, int64_t max_position);
  // By position, that one among them: cos and sin. Not for frequencies that depend on a sequence's length.
  std::pair<const at::Tensor&, const at::Tensor&> reaching(int64_t max_position);

 private:
  void grow(int64_t positions);
  RopeTables by_length(const PackedBatch& batch) const;

  RopeConfig config_;
  at::Device device_;
  at::Tensor cos_, sin_;
};

}  // namespace sluice::model
