// Completions of random tokens as a batch to learn from, and what it takes to compute them.
#pragma once

#include <cstdint>

#include "learner/training_batch.h"
#include "model/network.h"

namespace sluice::app {

struct CompletionsShape {
  int64_t batch = 0, group = 1;  // completions, and how many share a prompt
  int64_t prompt = 0;
  int64_t shortest = 0, longest = 0;  // new tokens; evenly spread between the two
};

struct Completions {
  learner::TrainingBatch batch;  // no advantage is 0
  double tokens = 0;             // of all completions, each with its prompt
  double flop = 0;               // of a forward that reads each group's prompt once
};

Completions make_completions(const model::Network& network, const CompletionsShape& shape);

}  // namespace sluice::app
