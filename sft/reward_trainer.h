// Trains a reward model on compared completions, and measures one (spec section 10.1).
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "model/network.h"
#include "optim/optimizer.h"
#include "sft/reward_batch.h"
#include "sft/reward_loss.h"

namespace sluice::sft {

struct RewardOptions {
  int64_t micro_batch_tokens = 16384;  // rows of one forward
  RewardLossOptions loss = {};
};

// Network, which has a scalar head, and optimizer outlive it.
class RewardTrainer {
 public:
  RewardTrainer(model::Network& network, optim::Optimizer& optimizer, const RewardOptions& options);

  // One update from these pairs; the gradient is the same however they are packed. Throws DataError for no
  // pairs.
  //
  // loss, accuracy (share of pairs whose chosen completion has the higher score, not the same one), margin
  // (by how much, the mean), mean_reward, std_reward, min_reward and max_reward over all completions,
  // num_tokens, grad_norm, learning_rate, those of Optimizer::metrics().
  std::map<std::string, double> step(std::span<const ComparedPair> pairs);

 private:
  model::Network& network_;
  optim::Optimizer& optimizer_;
  const RewardOptions options_;
};

// The same sums of pairs that nothing is learned from.
RewardLossSums measure_pairs(const model::Network& network, std::span<const ComparedPair> pairs,
                             int64_t micro_batch_tokens);

}  // namespace sluice::sft
