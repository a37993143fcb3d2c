#include "model/parameters.h"

#include <ATen/ATen.h>

#include <utility>

#include "base/error.h"
#include "model/internal/large_tensor.h"
#include "model/internal/raw_operators.h"
#include "model/kernels/kernels.h"

namespace sluice::model {
namespace {

constexpr int64_t kPackedStep = 64;  // numbers: panels begin at a cache line, of any type

}  // namespace

std::vector<int64_t> ParameterSlot::stored_shape() const {
  return transposed ? std::vector<int64_t>(shape.rbegin(), shape.rend()) : shape;
}

size_t Parameters::add(ParameterSlot slot) {
  slot.offset = num_numbers_;
  slot.count = 1;
  for (const int64_t size : slot.shape) {
    require(!__builtin_mul_overflow(slot.count, size, &slot.count), "parameters: ", slot.name, " of shape ",
            shape_text(slot.shape), " is too large");
  }
  require(!__builtin_add_overflow(num_numbers_, slot.count, &num_numbers_), "parameters: too many numbers");
  require(index_.emplace(slot.name, slots_.size()).second, "parameters: ", slot.name, " is declared twice");
  slots_.push_back(std::move(slot));
  return slots_.size() - 1;
}

void Parameters::bind(const at::Tensor& flat, bool requires_grad, bool constant) {
  require(flat.dim() == 1 && flat.numel() == num_numbers_, "parameters: a buffer of ", flat.sizes(), " for ",
          num_numbers_, " numbers");
  flat_ = flat;
  constant_ = constant;
  const auto before = std::exchange(tensors_, {});
  for (size_t i = 0; i < slots_.size(); ++i) {
    const auto& slot = slots_[i];
    const auto place = flat.narrow(0, slot.offset, slot.count);
    at::Tensor leaf;
    if (slot.kind != ParameterKind::Buffer || flat.scalar_type() != at::kBFloat16) {
      leaf = place.view(slot.shape).detach();
      leaf.set_requires_grad(requires_grad && slot.kind != ParameterKind::Buffer);
    } else if (before.empty()) {
      place.zero_();
      leaf = at::full(slot.shape, slot.initial, flat.options().dtype(at::kFloat));
    } else {
      leaf = before[i].tensor;
    }
    tensors_.push_back({slot.name, std::move(leaf)});
  }
}

at::Tensor Parameters::span(size_t first, size_t count) const {
  const auto& last = slots_[first + count - 1];
  const int64_t offset = slots_[first].offset, numbers = last.offset + last.count - offset;
  const auto all = flat_.narrow(0, offset, numbers);
  return last.shape.size() == 1 ? all : all.view({-1, last.shape.back()});
}

Weight Parameters::weight(size_t first, size_t count) {
  Weight weight(span(first, count), {}, rounding_ == Rounding::BFloat16);
  const auto& rows = weight.rows;
  if (!constant_ || !raw::has_product_kernel(rows)) return weight;
  const auto type = rounding_ == Rounding::Int8 ? at::kChar
                    : weight.rounds             ? at::kBFloat16
                                                : rows.scalar_type();
  if (packed_offsets_.empty()) {
    // There is memory for the numbers themselves by now, so that these sums do not overflow.
    for (const auto& slot : slots_) {
      packed_offsets_.push_back(packed_numbers_);
      const int64_t padding = slot.shape.size() == 2 ? (cpu::kPanelColumns - 1) * slot.shape.back() : 0;
      packed_numbers_ += (slot.count + padding + kPackedStep - 1) / kPackedStep * kPackedStep;
    }
  }
  if (!panels_.defined() || panels_.scalar_type() != type) panels_ = large_tensor(packed_numbers_, type);
  weight.packed = panels_.narrow(0, packed_offsets_[first], cpu::packed_size(rows.size(0), rows.size(1)));
  if (type == at::kChar) weight.scales = at::empty({rows.size(0)}, at::kFloat);
  raw::pack_into(rows, weight.packed, weight.scales);
  return weight;
}

int64_t Parameters::find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? -1 : static_cast<int64_t>(found->second);
}

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string text = "[";
  for (const int64_t size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

}  // namespace sluice::model
