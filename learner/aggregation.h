// How the losses of tokens become one number, whatever the step is cut into (spec section 7).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace sluice::learner {

// A mean over sequences of what belongs to a whole one (spec: seq-mean) is SeqMeanTokenMean of its tokens.
enum class Aggregation { TokenMean, SeqMeanTokenMean, SeqMeanTokenSum, SeqMeanTokenSumNorm };
// The sequences that a mean over sequences counts: all, or those with a chosen token.
enum class SequenceDenominator { All, NonEmpty };

// What the whole optimizer step contains, on all ranks: fixed before it is cut into micro-batches.
struct StepDenominators {
  int64_t tokens = 0;      // chosen tokens
  int64_t sequences = 0;   // all sequences, also those without a chosen token
  int64_t max_length = 1;  // SeqMeanTokenSumNorm divides by it
  int64_t nonempty = 0;    // sequences with a chosen token
};

// The factor of each token's loss, such that the sum over the step's tokens is the aggregate.
// `lengths` are the chosen tokens of each sequence of the micro-batch, in order; returns [sum of lengths]
// float64 on the CPU.
at::Tensor aggregation_weights(Aggregation mode, const std::vector<int64_t>& lengths,
                               const StepDenominators& step,
                               SequenceDenominator counted = SequenceDenominator::All);

}  // namespace sluice::learner
