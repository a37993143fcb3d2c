// Weights and gradients of which each rank holds its part, and a block's for as long as it computes (ZeRO-3,
// Rajbhandari et al. 2020).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "model/block_weights.h"
#include "model/network.h"
#include "optim/optimizer.h"
#include "transport/collective.h"

namespace sluice::optim {

// The flat buffers stay where they are: what is not there is zero, and takes no memory. What is outside of
// the blocks (embeddings, the last norm, the head) is the root, which every rank has.
//
// Weights are whole on every rank until begin_update(), the first of which lets go of them. From then on a
// pass goes by what all ranks take part in: they make equally many passes, those that have nothing to
// compute too.
class ShardedWeights final : public model::BlockWeights {
 public:
  // `grad` has the gradients of the network's weights; network and ranks outlive it.
  ShardedWeights(model::Network& network, const at::Tensor& grad, const Shard& own,
                 transport::Collective& ranks);
  ~ShardedWeights() override;
  ShardedWeights(const ShardedWeights&) = delete;
  ShardedWeights& operator=(const ShardedWeights&) = delete;

  void gather(int64_t block) override;
  void release(int64_t block) override;
  void take_gradient(int64_t block) override;

  void idle_forward();
  void idle_backward();

  // Nothing but the root and its own part on any rank, and no gradient.
  void begin_update();
  // Numbers of the root's gradient: what is written there before sum_gradient() reaches all ranks.
  at::Tensor kept_back() const { return grad_.narrow(0, 0, 1); }
  // Of the rank's part, over all ranks and passes: [numbers of the part].
  at::Tensor sum_gradient();
  // Behind an update of the parts.
  void share_root();

  // Brings all weights to rank 0, until release_all().
  void gather_all();
  void release_all();
  // SHA-256 of the weights that every rank has at the time.
  std::string hash_in_common() const;

  double take_wait_seconds();

 private:
  void sum(at::Tensor numbers);  // over the ranks
  void fill(const Shard& part);  // with what each rank has of it

  model::Network& network_;
  transport::Collective& ranks_;
  const Shard own_;
  // Without the version counters of the network's views: a backward takes what is gathered for what it saved.
  const at::Tensor weights_, grad_;
  const at::Tensor own_grad_;  // what other passes of the update left
  std::vector<Shard> blocks_;
  std::array<Shard, 2> root_;  // before and behind the blocks
  bool is_whole_ = true;       // on this rank
  bool is_gathered_ = false;   // by gather_all()
  double wait_s_ = 0.0;
};

}  // namespace sluice::optim
