#include "sft/reward_batch.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "model/pack_bins.h"

namespace sluice::sft {
namespace {

int64_t num_rows(const ComparedPair& pair) {
  return std::ssize(pair.prompt) + std::ssize(pair.chosen) + std::ssize(pair.rejected);
}

void check_pair(const ComparedPair& pair, size_t index) {
  require<DataError>(!pair.prompt.empty() && !pair.chosen.empty() && !pair.rejected.empty(),
                     "pack_pairs: pair ", index, " has ", pair.prompt.size(), " tokens of prompt, ",
                     pair.chosen.size(), " of chosen and ", pair.rejected.size(), " of rejected");
}

RewardBatch pack(std::span<const ComparedPair> pairs, const std::vector<int64_t>& bin,
                 const at::Device& device) {
  model::PackedBatchBuilder rows;
  std::vector<int64_t> chosen_rows, rejected_rows;
  std::vector<double> margins;
  for (const int64_t item : bin) {
    const auto& [prompt, chosen, rejected, margin] = pairs[static_cast<size_t>(item)];
    const auto length = static_cast<int64_t>(prompt.size() + std::max(chosen.size(), rejected.size()));
    const int64_t prefix = rows.add(prompt, model::kNoPrefix, /*first_position=*/0, length);
    const auto last_row_of = [&](const std::vector<int32_t>& completion) {
      rows.add(completion, prefix, /*first_position=*/0, length);
      return rows.num_rows() - 1;
    };
    chosen_rows.push_back(last_row_of(chosen));
    rejected_rows.push_back(last_row_of(rejected));
    margins.push_back(margin);
  }
  return {.batch = rows.build(device),
          .chosen_rows = at::tensor(chosen_rows, at::kLong).to(device),
          .rejected_rows = at::tensor(rejected_rows, at::kLong).to(device),
          .margins = at::tensor(margins, at::kFloat).to(device)};
}

}  // namespace

int64_t ComparedPair::num_tokens() const { return num_rows(*this) + std::ssize(prompt); }

std::vector<RewardBatch> pack_pairs(std::span<const ComparedPair> pairs, int64_t max_tokens,
                                    const at::Device& device, int64_t ranks) {
  require(max_tokens > 0, "pack_pairs: packs of ", max_tokens, " rows");
  std::vector<int64_t> lengths;
  for (size_t i = 0; i < pairs.size(); ++i) {
    check_pair(pairs[i], i);
    lengths.push_back(num_rows(pairs[i]));
  }
  std::vector<RewardBatch> batches;
  for (const auto& [rank, items] : model::pack_for_ranks(lengths, max_tokens, ranks)) {
    batches.push_back(pack(pairs, items, device));
    batches.back().rank = rank;
  }
  return batches;
}

}  // namespace sluice::sft
