#include "learner/internal/completion_rows.h"

#include <ATen/ATen.h>

namespace sluice::learner::internal {

size_t num_input_rows(std::span<const uint8_t> mask) {
  size_t rows = mask.size();
  while (rows > 0 && mask[rows - 1] == 0) --rows;
  return rows == 0 ? 0 : rows - 1;
}

void CompletionRows::add_prompt(std::span<const int32_t> tokens, int64_t grows_to) {
  prompt_ = rows_.add(tokens, model::kNoPrefix, /*first_position=*/0, grows_to);
  last_prompt_row_ = rows_.num_rows() - 1;
  grows_to_ = grows_to;
}

void CompletionRows::add(std::span<const int32_t> tokens, std::span<const uint8_t> mask) {
  add(tokens, mask, num_input_rows(mask));
}

void CompletionRows::add_whole(std::span<const int32_t> tokens, std::span<const uint8_t> mask) {
  add(tokens, mask, tokens.size());
  end_rows_.push_back(rows_.num_rows() - 1);
}

void CompletionRows::add(std::span<const int32_t> tokens, std::span<const uint8_t> mask, size_t num_rows) {
  const int64_t first_row = rows_.num_rows();
  if (num_rows > 0) rows_.add(tokens.first(num_rows), prompt_, /*first_position=*/0, grows_to_);
  lengths_.push_back(0);
  for (size_t i = 0; i < mask.size(); ++i) {
    if (mask[i] == 0) continue;
    target_rows_.push_back(i == 0 ? last_prompt_row_ : first_row + static_cast<int64_t>(i) - 1);
    target_tokens_.push_back(tokens[i]);
    ++lengths_.back();
  }
}

model::TokenTargets CompletionRows::targets(const at::Device& device) const {
  return {at::tensor(target_rows_, at::kLong).to(device), at::tensor(target_tokens_, at::kLong).to(device)};
}

at::Tensor CompletionRows::end_rows(const at::Device& device) const {
  return at::tensor(end_rows_, at::kLong).to(device);
}

}  // namespace sluice::learner::internal
