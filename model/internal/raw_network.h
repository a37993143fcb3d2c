// A network as the kernels' own forward reads it: pointers into its weights, in their order.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "model/kernels/transformer.h"
#include "model/model_config.h"
#include "model/operators.h"

namespace sluice::model {

// Vectors in float32, kept as long as this is.
class RawVectors {
 public:
  const float* add(const at::Tensor& x);

 private:
  std::vector<at::Tensor> kept_;
};

struct RawNetwork {
  cpu::Transformer transformer;
  RawVectors vectors;
  int64_t rope_positions = 0;  // that the tables reach
};

// Of a packed weight, without a bias.
cpu::Product describe_product(const Weight& weight);

}  // namespace sluice::model
