// Sums over the ranks of a learner, and what they tell each other. A group of one is the ordinary case.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"

namespace sluice::transport {

// Used by one thread at a time. The ranks call all_reduce_sum(), broadcast() and meet() equally often and in
// one order, with contiguous tensors of one shape and type. Throws Error naming the ranks that have not come
// in time, or that have stopped or died meanwhile; the group is of no use from then on.
class Collective {
 public:
  virtual ~Collective() = default;
  virtual int64_t rank() const = 0;
  virtual int64_t size() const = 0;
  // Adds `tensor` over all ranks, in place; every rank gets the same bits.
  virtual void all_reduce_sum(at::Tensor& tensor) = 0;
  // Waits for a sum that was begun.
  using EndSum = std::function<void()>;
  // Begins all_reduce_sum(), which goes on meanwhile where it can: `tensor` is not touched until the returned
  // function, called in the order of the beginnings, has waited for it. No other sum, broadcast() or
  // meet() comes between a beginning and its end.
  virtual EndSum begin_sum(at::Tensor tensor) {
    all_reduce_sum(tensor);
    return [] {};
  }
  // Every rank gets what `root` has in `tensor`, to the bit. What the others have there is not looked at.
  virtual void broadcast(at::Tensor& tensor, int64_t root) = 0;
  // Returns when every rank has come here: for what may take one of them longer than a sum may. Those that
  // have not come are waited for as long as they give signs of life; then throws Error naming them.
  virtual void meet() {}
};

// One rank: every sum is what it was.
class SoloCollective final : public Collective {
 public:
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 1; }
  void all_reduce_sum(at::Tensor&) override {}
  void broadcast(at::Tensor&, int64_t /*root*/) override {}
};

// Which of the processes of a group this is, and where they find each other.
struct RankOptions {
  std::filesystem::path meeting = {};  // a file, for ranks of one host: new for each group
  int64_t rank = 0, size = 1;
  Millis timeout_ms = 60'000;  // of finding each other, and of each sum; and of silence, up to kSilentMs
  std::string address = {};    // host:port in place of the file, where rank 0 listens, or torchrun's agent
};
// By Gloo on the CPU and NCCL on GPUs; a group of one needs neither.
std::unique_ptr<Collective> join_ranks(const RankOptions& options, const at::Device& device);

// The bytes of rank 0, on every rank. The others' are not looked at.
std::string broadcast(Collective& ranks, const std::string& bytes);

// What each rank says, by rank, on every rank; all say equally many numbers. A sum with zeros is exact.
std::vector<std::vector<double>> gather(Collective& ranks, const std::vector<double>& own);

// What the ranks counted, each of its own part: their sum, number by number and in the order of the ranks, on
// every rank.
std::vector<double> sum_over(Collective& ranks, const std::vector<double>& own);

}  // namespace sluice::transport
