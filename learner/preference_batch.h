// Completions that people compared or judged, and how they become the network's input (spec section 9).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "model/packed_batch.h"
#include "transport/collective.h"

namespace sluice::learner {

struct JudgedCompletion {
  std::vector<int32_t> tokens;  // behind the prompt, the end of sequence included
  std::vector<uint8_t> mask;    // [tokens] 1 where the log-prob counts: not in what others say in between
};

struct PreferenceExample {
  std::vector<int32_t> prompt;
  std::vector<JudgedCompletion> completions;  // chosen and rejected, or one that is good or bad by itself
  bool desirable = true;                      // of the latter
  int64_t row = -1;  // of the data, by which its reference log-probs are found again; -1: of none
};

int64_t num_targets(const JudgedCompletion& completion);
// Of prompts, once for each completion, and completions.
int64_t num_tokens(const PreferenceExample& example);
// SHA-256 of all that they say, in their order.
std::string hash_of(std::span<const PreferenceExample> examples);

// Whole examples, ready for the network: a prompt stands once and its completions name it as prefix. What
// follows the last counted token's predecessor predicts nothing and is left out. Each sequence of an example
// is said to grow to the longest of them.
struct PreferencePack {
  model::PackedBatch batch;
  // The counted tokens of the completions, end to end; behind all of them, where they were asked for, the
  // prompts' tokens but their first.
  model::TokenTargets targets;
  std::vector<int64_t> lengths;         // counted tokens of each completion, in order
  std::vector<int64_t> examples;        // whose completions these are, in order
  std::vector<int64_t> prompt_lengths;  // tokens of each of their prompts that are targets, or empty
  int64_t rank = 0;                     // of the learner, which computes it

  int64_t num_completion_targets() const;
};

// Best fit decreasing at `max_tokens` rows a pack; a larger example gets a pack of its own. The order is a
// pure function of the batch. Throws DataError for an example with an empty prompt, a completion of which no
// token counts or whose mask is of another length, and for examples that differ in their number of
// completions. Of several ranks each gets about as many rows, and packs of its own.
std::vector<PreferencePack> pack_preferences(std::span<const PreferenceExample> examples, int64_t max_tokens,
                                             const at::Device& device, bool with_prompts = false,
                                             int64_t ranks = 1);

// [examples, completions] float64 from log-probs [targets] of a pack, passes gradients: the sum over each
// completion's tokens. `ld_alpha` weighs those of a pair that the shorter completion has no counterpart of
// (ld_weights()); 1: as all others.
at::Tensor example_logps(const PreferencePack& pack, const at::Tensor& logprobs, double ld_alpha = 1.0);

// [examples] float64, likewise: the sum over each prompt's tokens.
at::Tensor prompt_logps(const PreferencePack& pack, const at::Tensor& logprobs);

// [all examples, ...] float64 on the CPU, without gradients, in the order of the batch: what `of_pack` gives
// for those of each pack, [examples, ...].
at::Tensor of_all_packs(const std::vector<PreferencePack>& packs,
                        const std::function<at::Tensor(const PreferencePack& pack)>& of_pack);
// On every rank, each of which computes its own packs: [all examples, columns]. Whoever has fewer than
// another is told behind them by how many, before the ranks share what they have.
at::Tensor of_all_packs(const std::vector<PreferencePack>& packs, int64_t columns,
                        transport::Collective& ranks,
                        const std::function<at::Tensor(const PreferencePack& pack)>& of_pack,
                        const std::function<void(int64_t fewer)>& idle);

}  // namespace sluice::learner
