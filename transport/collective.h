// Sums over the ranks of a learner. A group of one is the ordinary case.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sluice::transport {

class Collective {
 public:
  virtual ~Collective() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  // Adds `tensor` over all ranks, in place; every rank gets the same bits.
  virtual void all_reduce_sum(at::Tensor& tensor) = 0;
};

// One rank: every sum is what it was.
class SoloCollective final : public Collective {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 1; }
  void all_reduce_sum(at::Tensor&) override {}
};

}  // namespace sluice::transport
