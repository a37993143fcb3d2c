// Rows of logits on a GPU, each read once: what a log-prob is made of, and its gradient.
//
// Logits are [rows, vocab] float32, end to end, as a product gives them: the cap and the temperature are
// applied here. Log-prob and entropy are those of softmax(z), z = cap * tanh(logit / cap) / temperature. Sums
// go by the vocabulary alone, so that a row has the same bits whatever stands beside it. All pointers are to
// memory of the GPU; the work is queued on `stream` and not waited for. Throws Error when it cannot be.
#pragma once

#include <cstdint>

#include "model/kernels/kernels.h"

struct CUstream_st;

namespace sluice::model::gpu {

struct LogitRows {
  const float* logits = nullptr;     // [rows, vocab]
  const int64_t* targets = nullptr;  // [rows], in 0 .. vocab - 1
  int64_t rows = 0, vocab = 0;
  float temperature = 1.0f;
  float soft_cap = 0.0f;  // 0: none
};

struct LogitSums {  // [rows] each
  float *logprobs = nullptr, *entropy = nullptr, *lse = nullptr;
  bool* is_top = nullptr;  // no other token is likelier than the target
};
void add_up_logits(const LogitRows& rows, const LogitSums& sums, CUstream_st* stream);

// The gradient of the logits [rows, vocab], of any type, from those of log-prob and entropy.
struct LogitGradients {
  const float *lse = nullptr, *entropy = nullptr;  // [rows], as they came out above
  const float* of_logprobs = nullptr;              // [rows]
  const float* of_entropy = nullptr;               // [rows], or null: nobody asks for it
  void* logits = nullptr;                          // [rows, vocab], other memory than the logits'
  cpu::NumberType type = cpu::NumberType::Float32;
};
void differentiate_logits(const LogitRows& rows, const LogitGradients& gradients, CUstream_st* stream);

}  // namespace sluice::model::gpu
