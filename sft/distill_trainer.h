// White-box distillation: a student learns the distributions that a teacher has at each token of the
// examples.
#pragma once

#include <cstdint>
#include <span>

#include "model/network.h"
#include "optim/optimizer.h"
#include "sft/distill_loss.h"
#include "sft/sft_trainer.h"
#include "sft/supervised_batch.h"

namespace sluice::sft {

// Both networks and the optimizer outlive it. The teacher is frozen and reads the same token ids; where one
// of the two vocabularies is padded further, what lies beyond the shorter one is in neither distribution.
class DistillTrainer {
 public:
  DistillTrainer(model::Network& network, const model::Network& teacher, optim::Optimizer& optimizer,
                 int64_t micro_batch_tokens, const DistillOptions& options);

  // One update from these examples, each of which has a target. Throws DataError when there is none. Metrics
  // are those of SftTrainer with, for balance and accuracy, `kl` (nats a target, at the temperature) and
  // `nll` (of the data's tokens, at temperature 1); both are weighted as the loss is.
  StepMetrics step(std::span<const Example> examples);

 private:
  struct Sums;
  void learn(const SupervisedBatch& pack, double step_weight, Sums& sums);

  model::Network& network_;
  const model::Network& teacher_;
  optim::Optimizer& optimizer_;
  const int64_t micro_batch_tokens_;
  const DistillOptions options_;
};

}  // namespace sluice::sft
