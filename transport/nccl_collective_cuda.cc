#include <stdlib.h>

#include <chrono>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include "transport/internal/backend_collective.h"
#include "transport/nccl_collective.h"

namespace sluice::transport {

// NCCL's stream waits for what the current one has been given, and the current one for what was begun.
std::unique_ptr<Collective> make_nccl_collective(const RankOptions& options, const at::Device& device) {
  const std::chrono::milliseconds timeout(options.timeout_ms);
  const auto make = [&](const c10::intrusive_ptr<c10d::Store>& store) {
    ::setenv("TORCH_NCCL_BLOCKING_WAIT", "1", /*overwrite=*/0);  // a late rank is an error here, not an abort
    auto nccl_options = c10d::ProcessGroupNCCL::Options::create();
    nccl_options->timeout = timeout;
    return c10::make_intrusive<c10d::ProcessGroupNCCL>(store, static_cast<int>(options.rank),
                                                       static_cast<int>(options.size), nccl_options);
  };
  const auto end = [timeout](c10d::Work& work) {
    work.wait(timeout);
    work.synchronize();
  };
  return std::make_unique<internal::BackendCollective>(options, device, make, end);
}

}  // namespace sluice::transport
