// Sums over ranks on CPUs, by the Gloo inside LibTorch: over loopback, unless GLOO_SOCKET_IFNAME names
// another interface, as it does for PyTorch.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "transport/collective.h"

namespace sluice::transport {

// Used by one thread at a time. The ranks call all_reduce_sum(), broadcast() and meet() equally often and in
// one order, with tensors of one shape and type. Each rank's part of the sum is added in the order of the
// ring and sent on as it is, so all ranks have the same bits, and the same ones again in another run of as
// many ranks.
class GlooCollective final : public Collective {
 public:
  // Returns when all ranks are there. Throws UsageError for a rank outside the group, EnvironmentError naming
  // the ranks that have not come in time.
  explicit GlooCollective(const RankOptions& options);
  ~GlooCollective() override;

  int64_t rank() const override { return options_.rank; }
  int64_t size() const override { return options_.size; }
  // For contiguous tensors. Throws Error naming the ranks that have not come to this sum in time, or that
  // have stopped or died in it; the group is of no use from then on.
  void all_reduce_sum(at::Tensor& tensor) override;
  EndSum begin_sum(at::Tensor tensor) override;
  void broadcast(at::Tensor& tensor, int64_t root) override;
  void meet() override;

 private:
  struct Group;

  const RankOptions options_;
  const std::unique_ptr<Group> group_;
};

}  // namespace sluice::transport
