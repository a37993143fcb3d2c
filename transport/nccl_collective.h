// Sums over ranks on GPUs, by the NCCL inside LibTorch. Without CUDA there is none.
#pragma once

#include <memory>

#include "transport/collective.h"

namespace sluice::transport {

// As make_gloo_collective(), for tensors of `device`; what lies on the CPU is summed there and comes back.
// Throws EnvironmentError in a build without CUDA.
std::unique_ptr<Collective> make_nccl_collective(const RankOptions& options, const at::Device& device);

}  // namespace sluice::transport
