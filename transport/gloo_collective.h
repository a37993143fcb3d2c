// Sums over ranks on CPUs, by the Gloo inside LibTorch, over loopback.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>

#include "base/clock.h"
#include "transport/collective.h"

namespace sluice::transport {

struct GlooOptions {
  std::filesystem::path meeting;  // a file where the ranks of one host find each other: new for each group
  int64_t rank = 0, size = 1;
  Millis timeout_ms = 60'000;  // of finding each other, and of each sum
};

// Used by one thread. The ranks call all_reduce_sum() equally often, with tensors of one shape and type. Each
// rank's part of the sum is added in the order of the ring and sent on as it is, so all ranks have the same
// bits, and the same ones again in another run of as many ranks.
class GlooCollective final : public Collective {
 public:
  // Returns when all ranks are there. Throws UsageError for a rank outside the group, EnvironmentError naming
  // the ranks that have not come in time.
  explicit GlooCollective(const GlooOptions& options);
  ~GlooCollective() override;

  int64_t rank() const override { return options_.rank; }
  int64_t size() const override { return options_.size; }
  // For contiguous tensors. Throws Error naming the ranks that have not come to this sum in time, or that a
  // rank is gone; the group is of no use from then on.
  void all_reduce_sum(at::Tensor& tensor) override;

 private:
  struct Group;

  const GlooOptions options_;
  std::unique_ptr<Group> group_;
  int64_t sums_ = 0;  // begun
};

}  // namespace sluice::transport
