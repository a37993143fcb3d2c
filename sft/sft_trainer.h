// Supervised fine-tuning on prompt and completion, packed, with the loss on the completion (spec section 11).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/network.h"
#include "optim/optimizer.h"
#include "sft/supervised_batch.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace sluice::sft {

struct TokenizeOptions {
  bool append_eos = true;     // the end of sequence is a target too
  int64_t max_length = 1024;  // keeps the start; an example without a target after that is dropped
};

// `dropped` counts what had no target left.
struct TokenizedExamples {
  std::vector<Example> examples;
  int64_t dropped = 0;
};

// Prompt and completion are encoded one by one and the loss is on the completion; with an empty prompt, on
// all but the first token. No begin of sequence is put in front: who wants one has it in the prompt's text.
TokenizedExamples tokenize_examples(const std::vector<text::Row>& rows, const text::Tokenizer& tokenizer,
                                    const TokenizeOptions& options);

struct SftOptions {
  int64_t examples_per_step = 32;
  int64_t micro_batch_tokens = 16384;
  uint64_t seed = 0;
  double router_aux_loss = 0.0;  // times the experts' balancing loss in the loss; 0: left out
};

// loss, entropy, num_tokens (all of the examples'), grad_norm, learning_rate, nonfinite_skips, and aux_loss
// of a network with experts: their balancing loss, before its coefficient. Accuracy is left to evaluation.
//
// The balancing loss is that of each micro-batch, weighted by its share of the step's rows: a ratio of means,
// it changes a little with the cut, which nothing else does.
using StepMetrics = std::map<std::string, double>;

class SftTrainer {
 public:
  // Throws DataError when there is no example. The order of examples is a function of (seed, epoch).
  SftTrainer(model::Network& network, optim::Optimizer& optimizer, std::vector<Example> examples,
             const SftOptions& options);

  // Step s (0-based) learns from examples s * examples_per_step and following of the endless shuffled order,
  // so a resumed run goes on with the same ones.
  StepMetrics step(int64_t step);

 private:
  const Example& example_at(int64_t ordinal);
  model::Network& network_;
  optim::Optimizer& optimizer_;
  const std::vector<Example> examples_;
  const SftOptions options_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of epoch_
};

}  // namespace sluice::sft
