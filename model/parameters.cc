#include "model/parameters.h"

#include <ATen/ATen.h>

#include <utility>

#include "base/error.h"
#include "model/internal/raw_operators.h"
#include "model/kernels/kernels.h"
#include "model/large_tensor.h"

namespace sluice::model {
namespace {

at::Tensor bytes_at(const void* memory, int64_t count) {
  return at::from_blob(const_cast<void*>(memory), {count}, at::TensorOptions().dtype(at::kByte));
}

at::Tensor numbers_at(const at::Tensor& bytes, int64_t offset, int64_t count, at::ScalarType type) {
  return bytes.narrow(0, offset, count * static_cast<int64_t>(c10::elementSize(type))).view(type);
}

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
  places_.clear();
  constant_ = constant;
  if (std::exchange(is_packed_, false)) packed_.reset();
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

void Parameters::bind_places(const at::Tensor& memory, std::vector<int64_t> places) {
  require(places.size() == slots_.size(), "parameters: ", places.size(), " places for ", slots_.size(),
          " tensors");
  flat_ = memory;
  places_ = std::move(places);
  constant_ = false;
  tensors_.clear();
  for (size_t i = 0; i < slots_.size(); ++i) {
    const auto& slot = slots_[i];
    tensors_.push_back({slot.name, memory.narrow(0, places_[i], slot.count).view(slot.shape)});
  }
}

void Parameters::bind_image(const void* image) {
  layout_ = image_layout();
  packed_ = bytes_at(image, layout_->bytes());
  is_packed_ = constant_ = true;
  places_.clear();
  flat_.reset();
  tensors_.clear();
  for (size_t i = 0; i < slots_.size(); ++i) {
    const auto& slot = slots_[i];
    const auto tensor =
        slot.kind == ParameterKind::Matrix
            ? at::empty(slot.shape, at::TensorOptions().device(at::kMeta))
            : numbers_at(packed_, layout_->numbers(i), slot.count, at::kFloat).view(slot.shape);
    tensors_.push_back({slot.name, tensor});
  }
}

void Parameters::write_image(void* image) {
  layout_ = image_layout();
  packed_ = bytes_at(image, layout_->bytes());
  for (size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].kind == ParameterKind::Matrix) continue;
    numbers_at(packed_, layout_->numbers(i), slots_[i].count, at::kFloat).copy_(tensors_[i].tensor.flatten());
  }
}

at::Tensor Parameters::span(size_t first, size_t count) const {
  const auto& last = slots_[first + count - 1];
  if (!flat_.defined() && last.kind == ParameterKind::Matrix) {
    int64_t rows = 0;
    for (size_t i = first; i < first + count; ++i) rows += slots_[i].shape[0];
    return at::empty({rows, last.shape.back()}, at::TensorOptions().device(at::kMeta));
  }
  if (!flat_.defined()) return tensors_[first].tensor;
  const int64_t offset = slots_[first].offset, numbers = last.offset + last.count - offset;
  const auto all = flat_.narrow(0, places_.empty() ? offset : places_[first], numbers);
  return last.shape.size() == 1 ? all : all.view({-1, last.shape.back()});
}

at::ScalarType Parameters::packed_type(at::ScalarType rows) const {
  switch (rounding_) {
    case Rounding::None:
      return rows;
    case Rounding::BFloat16:
    case Rounding::BFloat16Both:
      return at::kBFloat16;
    case Rounding::Float16Both:
      return at::kHalf;
    case Rounding::Int8:
      return at::kChar;
  }
  fail("parameters: no rounding has the number ", static_cast<int>(rounding_));
}

Weight Parameters::weight(size_t first, size_t count) {
  Weight weight(span(first, count), {}, rounding_);
  const auto& rows = weight.rows;
  if (!constant_ || !(is_packed_ || raw::has_product_kernel(rows))) return weight;
  const auto type = packed_type(rows.scalar_type());
  if (!packed_.defined() || layout_->panel_type() != type) {
    layout_.emplace(slots_, type);
    packed_ = large_tensor(layout_->product_bytes(), at::kByte);
  }
  weight.packed =
      numbers_at(packed_, layout_->panels(first), cpu::packed_size(rows.size(0), rows.size(1)), type);
  if (type == at::kChar)
    weight.scales = numbers_at(packed_, layout_->scales(first), rows.size(0), at::kFloat);
  if (!is_packed_) raw::pack_into(rows, weight.packed, weight.scales);
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
