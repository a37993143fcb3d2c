// A block of which the backward knows nothing but the input (activation checkpointing, Chen et al. 2016).
#pragma once

#include <memory>

#include "model/internal/block.h"
#include "model/internal/pass.h"

namespace sluice::model {

// Block::forward(), computed without gradients and, where a backward comes by, once more with them. The block
// lives until then; `pass` may be used by the backward as long as nothing of it holds what came from here.
at::Tensor checkpointed(const Block& block, const at::Tensor& hidden, const std::shared_ptr<Pass>& pass);

}  // namespace sluice::model
