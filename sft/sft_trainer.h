// Supervised fine-tuning, packed, with the loss on the tokens that count (spec section 11).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "model/network.h"
#include "optim/optimizer.h"
#include "sft/embedding_noise.h"
#include "sft/supervised_batch.h"
#include "sft/supervised_loss.h"

namespace sluice::sft {

struct SftOptions {
  int64_t micro_batch_tokens = 16384;
  LossKind loss = LossKind::Nll;
  double router_aux_loss = 0.0;  // times the experts' balancing loss in the loss; 0: left out
  NoiseOptions noise = {};
};

// loss, entropy, mean_token_accuracy, num_tokens (all of the examples'), grad_norm, learning_rate,
// those of Optimizer::metrics(), and aux_loss of a network with experts: their balancing loss, before its
// coefficient. Entropy and accuracy, the share of targets that no other token was likelier than, are means
// over targets, whatever they weigh.
//
// The balancing loss is that of each micro-batch, weighted by its share of the step's rows: a ratio of means,
// it changes a little with the cut, which nothing else does.
using StepMetrics = std::map<std::string, double>;

// Network and optimizer outlive it.
class SftTrainer {
 public:
  SftTrainer(model::Network& network, optim::Optimizer& optimizer, const SftOptions& options);

  // One update from these examples, of which each of the optimizer's ranks, called alike, takes its share;
  // each has a target; `number` keys the step's noise. Throws DataError when there is none.
  StepMetrics step(std::span<const Example> examples, int64_t number = 0);

 private:
  model::Network& network_;
  optim::Optimizer& optimizer_;
  const SftOptions options_;
};

}  // namespace sluice::sft
