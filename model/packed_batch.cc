#include "model/packed_batch.h"

#include <ATen/ATen.h>

#include "base/error.h"

namespace sluice::model {
namespace {

at::Tensor to_tensor(const std::vector<int64_t>& values, const at::Device& device) {
  return at::tensor(values, at::TensorOptions().dtype(at::kLong)).to(device);
}

}  // namespace

int64_t PackedBatchBuilder::add(std::span<const int32_t> tokens, int64_t prefix, int64_t first_position,
                                int64_t final_length) {
  const auto index = static_cast<int64_t>(prefix_.size());
  int64_t position = first_position;
  if (prefix != kNoPrefix) {
    require(prefix >= 0 && prefix < index, "PackedBatchBuilder: sequence ", index, " names sequence ", prefix,
            " as its prefix, which does not stand before it");
    const auto at = static_cast<size_t>(prefix);
    require(prefix_[at] == kNoPrefix, "PackedBatchBuilder: sequence ", prefix, " has a prefix itself");
    require(first_position == 0,
            "PackedBatchBuilder: a sequence with a prefix starts where that ends, not at ", first_position);
    const int64_t length = starts_[at + 1] - starts_[at];
    position = length == 0 ? 0 : positions_[static_cast<size_t>(starts_[at + 1] - 1)] + 1;
  }
  require(position >= 0, "PackedBatchBuilder: first position ", position);

  for (const int32_t token : tokens) {
    tokens_.push_back(token);
    positions_.push_back(position++);
  }
  require(final_length == 0 || final_length >= position, "PackedBatchBuilder: a sequence of ", position,
          " positions that will have ", final_length);
  starts_.push_back(num_rows());
  prefix_.push_back(prefix);
  final_lengths_.push_back(final_length == 0 ? position : final_length);
  return index;
}

int64_t PackedBatchBuilder::row_of(int64_t sequence, int64_t offset) const {
  require(sequence >= 0 && sequence < static_cast<int64_t>(prefix_.size()), "PackedBatchBuilder: sequence ",
          sequence, " of ", prefix_.size());
  const auto at = static_cast<size_t>(sequence);
  require(offset >= 0 && starts_[at] + offset < starts_[at + 1], "PackedBatchBuilder: token ", offset,
          " of a sequence of ", starts_[at + 1] - starts_[at]);
  return starts_[at] + offset;
}

PackedBatch PackedBatchBuilder::build(const at::Device& device) const {
  return {to_tensor(tokens_, device), to_tensor(positions_, device), starts_, prefix_, final_lengths_};
}

}  // namespace sluice::model
