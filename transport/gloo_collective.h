// Sums over ranks on CPUs, by the Gloo inside LibTorch: over loopback, unless GLOO_SOCKET_IFNAME names
// another interface, as it does for PyTorch.
#pragma once

#include <memory>

#include "transport/collective.h"

namespace sluice::transport {

// Each rank's part of a sum is added in the order of the ring and sent on as it is, so all ranks have the
// same bits, and the same ones again in another run of as many ranks. Returns when all ranks are there.
// Throws UsageError for a rank outside the group, EnvironmentError naming the ranks that have not come in
// time.
std::unique_ptr<Collective> make_gloo_collective(const RankOptions& options);

}  // namespace sluice::transport
