// Rotary frequencies and the tables of their cosines and sines (spec section 15).
#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>
#include <vector>

#include "model/model_config.h"

namespace sluice::model {

// theta^(-2j/head_dim), scaled as the configuration says: [head_dim / 2].
std::vector<double> rope_frequencies(const RopeConfig& rope, int64_t head_dim);

// cos and sin of position * frequency, [max_position, head_dim / 2] float32; the angle is rounded to float32
// first, as the networks were trained with.
std::tuple<at::Tensor, at::Tensor> rope_tables(const RopeConfig& rope, int64_t head_dim, int64_t max_position,
                                               const at::Device& device);

}  // namespace sluice::model
