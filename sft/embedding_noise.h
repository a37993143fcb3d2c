// Noise on the embeddings of supervised examples (NEFTune, Jain 2023): it keeps a model from learning their
// wording by heart.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "sft/supervised_batch.h"

namespace sluice::sft {

struct NoiseOptions {
  double alpha = 0.0;  // 0: none
  uint64_t seed = 0;
};

// [rows, width] float32 on the pack's device: uniform in -a .. a with a = alpha / sqrt(L * width), L the
// example's rows. A number depends on the seed, the step, the example's place in the step, the row's in the
// example and the column alone, so that a step may be cut as one likes.
at::Tensor embedding_noise(const SupervisedBatch& pack, int64_t width, int64_t step,
                           const NoiseOptions& options);

}  // namespace sluice::sft
