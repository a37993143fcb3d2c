// The one update step of every stage: all-reduce, clip, schedule, and the rule that moves the weights.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "model/network.h"
#include "optim/schedule.h"
#include "transport/collective.h"

namespace sluice::optim {

// Of the rule for hidden matrices (spec section 17.2); all other parameters are AdamW's.
struct MuonOptions {
  int64_t ns_steps = 5;                    // of Newton and Schulz
  std::string adjust = "match_rms_adamw";  // one of muon_adjustments()
  double adamw_lr_factor = 1.0;            // on the learning rate of the other parameters
};

// Decay is decoupled; it spares one-dimensional parameters and embeddings unless decay_all.
struct OptimizerOptions {
  std::string kind = "adamw";  // one of optimizer_kinds()
  double lr = 1e-6;
  double beta1 = 0.9;  // AdamW's, as the next two
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool decay_all = false;
  double momentum = 0.95;  // of Muon and SGD
  bool nesterov = true;
  MuonOptions muon = {};
  double max_grad_norm = 1.0;  // 0: no clipping
  double spike_ratio = 0.0;    // skips a step whose gradient norm is so many times the usual one; 0: none
  int64_t spike_window = 50;   // steps that the usual norm is a mean of
  ScheduleOptions schedule = {};
  // What each of several ranks has a part of alone, one of shard_kinds(): none; moments (ZeRO-1), of the
  // weights that it moves; or weights, with their gradients and moments (ZeRO-3). Not for Muon; weights are
  // on the CPU, and all of the network is trained.
  std::string shard = "none";
};

const std::vector<std::string>& optimizer_kinds();   // adamw, muon, sgd
const std::vector<std::string>& muon_adjustments();  // match_rms_adamw, original
const std::vector<std::string>& shard_kinds();       // none, moments, weights

// What one update did. A step whose gradient is not finite, or whose norm is a spike, is skipped and counted,
// moments untouched. Where a smaller scale of the loss may help, the gradient is an overflow.
struct UpdateReport {
  double grad_norm = 0.0;  // before clipping
  double lr = 0.0;
  bool applied = false;
  bool spike = false;
  bool overflow = false;

  bool is_sound() const { return applied || spike || overflow; }
};

// The numbers of the flat buffers that a rank of several moves: parts of one size, but for the last ones.
struct Shard {
  int64_t first = 0, count = 0;
};
Shard shard_of(int64_t num_numbers, int64_t rank, int64_t ranks);

class GradientSum;
class LossScale;
class ShardedWeights;
class SpikeGuard;
class UpdateRule;

// Rank 0 has all of the network's weights for as long as it lives. Each rank has one at once; meanwhile the
// network computes on rank 0 alone.
class WholeWeights {
 public:
  explicit WholeWeights(ShardedWeights* weights);  // null: every rank has them always
  ~WholeWeights();
  WholeWeights(const WholeWeights&) = delete;
  WholeWeights& operator=(const WholeWeights&) = delete;

 private:
  ShardedWeights* const weights_;
};

// Gradients of all parameters lie in one flat buffer of which each parameter's grad() is a view, so that
// accumulation, the all-reduce and the norm are one pass each.
//
// Where ranks have parts of the weights, the network gathers a block's before it computes, from the ranks
// that have them: each forward and each backward is one of all ranks. Who has fewer passes than another is
// idle in the rest.
class Optimizer {
 public:
  // `network` and `collective` outlive it. Throws Error for options that make no sense.
  Optimizer(model::Network& network, transport::Collective& collective, const OptimizerOptions& options,
            int64_t total_steps);
  ~Optimizer();

  // Begins an update. What a backward adds between step() and this may stay.
  void zero_grad();
  // Adds the gradient of `loss`, a scalar, times loss_scale().
  void backward(const at::Tensor& loss) const;
  // A power of two that fits the gradients so far; 1 unless the network's products round them to float16.
  double loss_scale() const;
  // Of several ranks: what the next backward completes of the gradient is summed while that goes on. Until
  // step(), which has to come, nothing else is summed. Who does not call it has all of it summed in step(),
  // to the same bits.
  void expect_last_backward();
  // Goes along with passes of the other ranks: with so many forwards, the backward of one that this rank
  // made, and so many of both. Does nothing where every rank has all weights.
  void idle_forwards(int64_t count);
  void idle_backward();
  void idle_passes(int64_t count);
  // Makes step() skip, on every rank: for a loss that is not finite, whose gradient may well be. It is no
  // overflow.
  void reject();
  // Leaves zeros in the gradient, unless it skips. Throws Error when a parameter's grad() is no longer the
  // view it was given.
  UpdateReport step();

  transport::Collective& collective() const { return collective_; }
  int64_t num_steps() const { return num_steps_; }      // updates tried, skipped ones included
  int64_t num_skipped() const { return num_skipped_; }  // for a gradient that was not finite
  int64_t num_spikes() const;                           // skipped for their gradient norm
  // By their metric names: nonfinite_skips and spike_skips, and where the loss is scaled overflow_skips and
  // the loss_scale.
  std::map<std::string, double> metrics() const;

  // That this rank waited for gradients to be summed and weights to be gathered, since the last call; 0 on
  // one rank.
  double take_sum_seconds();

  [[nodiscard]] WholeWeights whole_weights() const { return WholeWeights(weights_.get()); }
  // SHA-256 of what every rank has of the weights: all, or what does not lie in blocks. Not while rank 0 has
  // more.
  std::string hash_in_common() const;

  int64_t state_bytes() const;  // of what the rule remembers, on this rank

  // Before state() where ranks remember parts, on every rank: brings all of it to rank 0, until the next
  // step.
  void collect();
  // What the rule remembers, counters, the usual norm and the loss's scale as named tensors on the CPU, for a
  // checkpoint: the same for any number of ranks. What is on the CPU is not copied, and moves with the next
  // update. load() checks names, shapes and types (DataError).
  std::vector<model::NamedTensor> state() const;
  void load(const std::vector<model::NamedTensor>& state);

 private:
  void bind_grads();
  void check_grads() const;
  bool is_sharded() const { return options_.shard != "none" && collective_.size() > 1; }
  bool shards_weights() const { return options_.shard == "weights" && collective_.size() > 1; }
  at::Tensor kept_back() const;
  bool is_overflow(bool rejected);
  at::Tensor sum_gradient();
  double norm_of(const at::Tensor& grad) const;
  void move_weights(const at::Tensor& grad, double lr, double grad_scale);

  model::Network& network_;
  transport::Collective& collective_;
  const OptimizerOptions options_;
  const int64_t total_steps_;
  at::Tensor grad_;                     // [num_parameters] float32
  std::vector<at::Tensor> grad_views_;  // of grad_, in the order of the network's parameters
  const Shard own_;                     // what rule_ moves
  std::unique_ptr<GradientSum> sum_;    // of grad_; null where weights_ is not
  std::unique_ptr<ShardedWeights> weights_;
  std::unique_ptr<UpdateRule> rule_;
  std::vector<model::NamedTensor> collected_;  // by collect()
  std::unique_ptr<SpikeGuard> guard_;          // null where spikes are not skipped
  std::unique_ptr<LossScale> loss_scale_;      // null where the loss is not scaled
  int64_t num_steps_ = 0, num_applied_ = 0, num_skipped_ = 0;
  bool is_zero_ = false;      // grad_, since the last step() and until an update begins
  bool is_rejected_ = false;  // by this rank
};

}  // namespace sluice::optim
