// What a network computes the long way: each sequence by itself with its own prompt before it, whole logits,
// and ATen's log-softmax of them.
#pragma once

#include <ATen/ATen.h>

#include <vector>

#include "model/network.h"

namespace sluice {

// Of these rows of the batch: [rows, hidden].
inline at::Tensor plain_hidden(const model::Network& network, const model::PackedBatch& batch,
                               const at::Tensor& rows) {
  const auto rows_of = [&](int64_t s) {
    const auto first = batch.starts[static_cast<size_t>(s)], end = batch.starts[static_cast<size_t>(s) + 1];
    return batch.tokens.narrow(0, first, end - first);
  };
  std::vector<at::Tensor> hidden;
  for (int64_t s = 0; s < batch.num_sequences(); ++s) {
    const int64_t prompt = batch.prefix[static_cast<size_t>(s)];
    const auto own = rows_of(s);
    const auto all = prompt == model::kNoPrefix ? own : at::cat({rows_of(prompt), own});
    model::PackedBatch alone{.tokens = all,
                             .positions = at::arange(all.numel()),
                             .starts = {0, all.numel()},
                             .prefix = {model::kNoPrefix},
                             .final_lengths = {}};
    hidden.push_back(network.forward(alone).slice(0, all.numel() - own.numel()));
  }
  return at::cat(hidden).index_select(0, rows);
}

// [rows, vocab]
inline at::Tensor plain_logits(const model::Network& network, const model::PackedBatch& batch,
                               const at::Tensor& rows) {
  return plain_hidden(network, batch, rows).matmul(network.head().rows.t());
}

inline at::Tensor plain_logprobs(const model::Network& network, const model::PackedBatch& batch,
                                 const model::TokenTargets& targets) {
  const auto logits = plain_logits(network, batch, targets.rows);
  return logits.log_softmax(1).gather(1, targets.tokens.unsqueeze(1)).squeeze(1);
}

// Of a network with a scalar head: [rows].
inline at::Tensor plain_scores(const model::Network& network, const model::PackedBatch& batch,
                               const at::Tensor& rows) {
  return plain_hidden(network, batch, rows).matmul(network.parameters().back().tensor.t()).squeeze(1);
}

}  // namespace sluice
