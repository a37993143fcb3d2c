// The one update step of every stage: all-reduce, clip, AdamW, schedule.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "model/network.h"
#include "transport/collective.h"

namespace sluice::optim {

// Multiplier on the learning rate at optimizer step s, the first being 0 (spec section 17.4).
struct ScheduleOptions {
  std::string kind = "constant";  // constant | linear | cosine
  int64_t warmup_steps = 0;       // rises as (s + 1) / warmup_steps, so that the first update already moves
  bool warmup_from_zero = false;  // rises as s / warmup_steps: the first update changes the moments alone
  double min_ratio = 0.0;         // cosine: what it falls to
};
double schedule_multiplier(const ScheduleOptions& options, int64_t step, int64_t total_steps);
const std::vector<std::string>& schedule_kinds();

// AdamW as in spec section 17.1; decay spares one-dimensional parameters and embeddings unless decay_all.
struct OptimizerOptions {
  double lr = 1e-6;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0.01;
  bool decay_all = false;
  double max_grad_norm = 1.0;  // 0: no clipping
  ScheduleOptions schedule;
};

// What one update did. A step whose gradient is not finite is skipped and counted, moments untouched.
struct UpdateReport {
  double grad_norm = 0.0;  // before clipping
  double lr = 0.0;
  bool applied = false;
};

// Gradients of all parameters lie in one flat buffer of which each parameter's grad() is a view, so that
// accumulation, the all-reduce, the norm and the update are one pass each.
class Optimizer {
 public:
  // `network` and `collective` outlive it.
  Optimizer(model::Network& network, transport::Collective& collective, const OptimizerOptions& options,
            int64_t total_steps);

  void zero_grad();
  // Makes step() skip, on every rank: for a loss that is not finite, whose gradient may well be.
  void reject();
  // Throws Error when a parameter's grad() is no longer the view it was given.
  UpdateReport step();

  int64_t num_steps() const { return num_steps_; }  // updates tried, skipped ones included
  int64_t num_skipped() const { return num_skipped_; }

  // Copies of moments and counters as named tensors on the CPU, for a checkpoint. load() checks names, shapes
  // and types (DataError).
  std::vector<model::NamedTensor> state() const;
  void load(const std::vector<model::NamedTensor>& state);

 private:
  void bind_grads();
  void check_grads() const;
  void update_weights(double lr);

  model::Network& network_;
  transport::Collective& collective_;
  const OptimizerOptions options_;
  const int64_t total_steps_;
  at::Tensor grad_, first_moment_, second_moment_;  // [num_parameters] float32
  at::Tensor decay_;                                // [num_parameters] 1 where weight decay applies
  std::vector<at::Tensor> grad_views_;              // of grad_, in the order of the network's parameters
  int64_t num_steps_ = 0, num_applied_ = 0, num_skipped_ = 0;
};

}  // namespace sluice::optim
