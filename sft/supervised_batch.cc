#include "sft/supervised_batch.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <span>

#include "base/error.h"
#include "model/pack_bins.h"

namespace sluice::sft {
namespace {

void check_example(const Example& example) {
  require(example.loss_mask.size() == example.tokens.size(), "pack_examples: ", example.tokens.size(),
          " tokens with a mask of ", example.loss_mask.size());
  require(num_targets(example) > 0, "pack_examples: an example of ", example.tokens.size(),
          " tokens without a target");
  require(example.loss_mask[0] == 0, "pack_examples: nothing predicts the first token, which is a target");
}

// The tokens before the last target.
int64_t num_input_rows(const Example& example) {
  const auto& mask = example.loss_mask;
  const auto last = std::find_if(mask.rbegin(), mask.rend(), [](uint8_t target) { return target != 0; });
  return std::distance(last, mask.rend()) - 1;
}

}  // namespace

int64_t num_targets(const Example& example) {
  return std::ranges::count_if(example.loss_mask, [](uint8_t target) { return target != 0; });
}

std::vector<SupervisedBatch> pack_examples(const std::vector<const Example*>& examples, int64_t max_tokens,
                                           const at::Device& device) {
  std::vector<int64_t> lengths;
  for (const Example* example : examples) {
    check_example(*example);
    lengths.push_back(num_input_rows(*example));
  }
  std::vector<SupervisedBatch> batches;
  for (const auto& bin : model::pack_best_fit(lengths, max_tokens)) {
    model::PackedBatchBuilder rows;
    std::vector<int64_t> target_rows, target_tokens;
    for (const int64_t item : bin) {
      const Example& example = *examples[static_cast<size_t>(item)];
      const auto length = static_cast<size_t>(lengths[static_cast<size_t>(item)]);
      const int64_t first_row = rows.num_rows();
      rows.add(std::span(example.tokens).first(length));
      for (size_t i = 1; i <= length; ++i) {
        if (example.loss_mask[i] == 0) continue;
        target_rows.push_back(first_row + static_cast<int64_t>(i) - 1);
        target_tokens.push_back(example.tokens[i]);
      }
    }
    batches.push_back({.batch = rows.build(device),
                       .targets = {at::tensor(target_rows, at::kLong).to(device),
                                   at::tensor(target_tokens, at::kLong).to(device)}});
  }
  return batches;
}

}  // namespace sluice::sft
