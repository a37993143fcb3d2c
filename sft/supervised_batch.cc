#include "sft/supervised_batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "model/pack_bins.h"

namespace sluice::sft {
namespace {

bool is_target(float weight) { return weight != 0.0f; }

void check_example(const Example& example) {
  const auto& weights = example.weights;
  require(weights.size() == example.tokens.size(), "pack_examples: ", example.tokens.size(), " tokens with ",
          weights.size(), " weights");
  require(num_targets(example) > 0, "pack_examples: an example of ", example.tokens.size(),
          " tokens without a target");
  require(!is_target(weights[0]), "pack_examples: nothing predicts the first token, which is a target");
  require(std::ranges::all_of(weights, [](float weight) { return weight >= 0.0f; }),
          "pack_examples: a token of negative weight");
}

// The tokens before the last target.
int64_t num_input_rows(const Example& example) {
  const auto last = std::find_if(example.weights.rbegin(), example.weights.rend(), is_target);
  return std::distance(last, example.weights.rend()) - 1;
}

SupervisedBatch pack(std::span<const Example> examples, const std::vector<int64_t>& items,
                     const std::vector<int64_t>& lengths, const at::Device& device) {
  model::PackedBatchBuilder rows;
  std::vector<int64_t> target_rows, target_tokens;
  std::vector<float> weights;
  for (const int64_t item : items) {
    const Example& example = examples[static_cast<size_t>(item)];
    const auto length = static_cast<size_t>(lengths[static_cast<size_t>(item)]);
    const int64_t first_row = rows.num_rows();
    rows.add(std::span(example.tokens).first(length));
    for (size_t i = 1; i <= length; ++i) {
      if (!is_target(example.weights[i])) continue;
      target_rows.push_back(first_row + static_cast<int64_t>(i) - 1);
      target_tokens.push_back(example.tokens[i]);
      weights.push_back(example.weights[i]);
    }
  }
  return {.batch = rows.build(device),
          .targets = {at::tensor(target_rows, at::kLong).to(device),
                      at::tensor(target_tokens, at::kLong).to(device)},
          .weights = at::tensor(weights, at::kFloat).to(device),
          .examples = items};
}

}  // namespace

int64_t num_targets(const Example& example) { return std::ranges::count_if(example.weights, is_target); }

double total_weight(const Example& example) {
  return std::accumulate(example.weights.begin(), example.weights.end(), 0.0);
}

std::vector<SupervisedBatch> pack_examples(std::span<const Example> examples, int64_t max_tokens,
                                           const at::Device& device, int64_t ranks) {
  std::vector<int64_t> lengths;
  for (const Example& example : examples) {
    check_example(example);
    lengths.push_back(num_input_rows(example));
  }
  std::vector<SupervisedBatch> batches;
  for (const auto& [rank, items] : model::pack_for_ranks(lengths, max_tokens, ranks)) {
    batches.push_back(pack(examples, items, lengths, device));
    batches.back().rank = rank;
  }
  return batches;
}

}  // namespace sluice::sft
