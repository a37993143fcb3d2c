#include "base/error.h"
#include "transport/nccl_collective.h"

namespace sluice::transport {

std::unique_ptr<Collective> make_nccl_collective(const RankOptions& options, const at::Device& device) {
  fail<EnvironmentError>("rank ", options.rank, " of ", options.size, " on ", device,
                         ": this build has no NCCL; `make cuda` makes one that has");
}

}  // namespace sluice::transport
