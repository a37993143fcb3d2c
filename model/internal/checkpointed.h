// A block of which the backward knows nothing but the input (activation checkpointing, Chen et al. 2016).
#pragma once

#include <memory>

#include "model/block_weights.h"
#include "model/internal/block.h"
#include "model/internal/pass.h"

namespace sluice::model {

// A block of a network, and who brings its weights where they are not there always.
struct BlockPlace {
  const Block& block;
  int64_t index = 0;
  BlockWeights* weights = nullptr;

  // What `work` computes with them.
  template <class Work>
  auto compute(const Work& work) const {
    if (weights != nullptr) weights->gather(index);
    auto result = work();
    if (weights != nullptr) weights->release(index);
    return result;
  }
};

// Block::forward(), computed without gradients and, where a backward comes by, once more with them. The block
// lives until then; `pass` may be used by the backward as long as nothing of it holds what came from here.
at::Tensor checkpointed(const BlockPlace& place, const at::Tensor& hidden, const std::shared_ptr<Pass>& pass);

}  // namespace sluice::model
