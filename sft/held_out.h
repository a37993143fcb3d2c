// How well a network says examples that it does not learn from.
#pragma once

#include <cstdint>
#include <span>

#include "model/network.h"
#include "sft/supervised_batch.h"

namespace sluice::sft {

// Over targets, whatever they weigh in training.
struct HeldOutSums {
  int64_t targets = 0;
  double nll = 0;      // nats
  double correct = 0;  // targets that no other token is likelier than

  void add(const HeldOutSums& more);
  double loss() const;      // nats a token
  double accuracy() const;  // of tokens
};

// Without gradients, packed at `micro_batch_tokens` rows. Throws Error for an example without a target.
HeldOutSums held_out_sums(const model::Network& network, std::span<const Example> examples,
                          int64_t micro_batch_tokens);

}  // namespace sluice::sft
