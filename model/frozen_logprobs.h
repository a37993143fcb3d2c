// Log-probs under weights that nobody moves: a reference's, an evaluated policy's.
#pragma once

#include <ATen/core/Tensor.h>

#include "model/network.h"
#include "model/packed_batch.h"

namespace sluice::model {

// Of the targets, [targets] float32, without gradients, with the bits of Network::logprobs(). Where the
// kernels' own forward computes the network, and there is a prompt with its completions for each thread, a
// thread takes these from their tokens to their log-probs, and what is in between stays in its cache. Throws
// Error as Network::logprobs() does.
at::Tensor frozen_logprobs(const Network& network, const PackedBatch& batch, const TokenTargets& targets,
                           double temperature);

}  // namespace sluice::model
