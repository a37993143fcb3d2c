#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "model/internal/implementations.h"
#include "model/internal/raw_operators.h"
#include "model/internal/share_product.h"
#include "model/internal/share_rows.h"
#include "model/kernels/kernels.h"

namespace sluice::model::raw::cpu {
namespace {

using at::Tensor;

// The panels of the rows first .. first + count - 1 of a contiguous weight.
void pack_rows(const Tensor& rows, int64_t first, int64_t count, void* panels, at::ScalarType type,
               float* scales) {
  const int64_t depth = rows.size(1);
  const auto* const numbers =
      static_cast<const char*>(rows.const_data_ptr()) + first * depth * rows.itemsize();
  if (rows.scalar_type() == at::kBFloat16) {
    model::cpu::pack(reinterpret_cast<const uint16_t*>(numbers), count, depth,
                     static_cast<uint16_t*>(panels));
    return;
  }
  const auto* const wide = reinterpret_cast<const float*>(numbers);
  if (type == at::kChar) {
    model::cpu::pack(wide, count, depth, static_cast<int8_t*>(panels), scales);
  } else if (type == at::kBFloat16) {
    model::cpu::pack(wide, count, depth, static_cast<uint16_t*>(panels));
  } else if (type == at::kHalf) {
    model::cpu::pack(wide, count, depth, static_cast<model::cpu::Float16*>(panels));
  } else {
    model::cpu::pack(wide, count, depth, static_cast<float*>(panels));
  }
}

// The panels of the rows first .. first + count - 1 of a contiguous weight, which threads share.
void share_packing(const Tensor& rows, int64_t first, int64_t count, const Tensor& panels,
                   const Tensor& scales) {
  const int64_t depth = rows.size(1);
  share_layout(count, depth, [&](int64_t from, int64_t part) {
    pack_rows(rows, first + from, part,
              static_cast<char*>(panels.mutable_data_ptr()) +
                  model::cpu::packed_size(from, depth) * panels.itemsize(),
              panels.scalar_type(), scales.defined() ? scales.mutable_data_ptr<float>() + from : nullptr);
  });
}

template <class From, class To>
Tensor converted(const Tensor& x, at::ScalarType type) {
  const auto from = x.contiguous();
  auto result = at::empty(x.sizes(), x.options().dtype(type));
  share_rows(x.numel(), 1, [&](int64_t first, int64_t count) {
    std::copy_n(from.const_data_ptr<From>() + first, count, result.mutable_data_ptr<To>() + first);
  });
  return result;
}

}  // namespace

Tensor narrowed(const Tensor& x, at::ScalarType type) {
  return type == at::kHalf ? converted<float, at::Half>(x, type) : converted<float, at::BFloat16>(x, type);
}

Tensor widened(const Tensor& x) {
  return x.scalar_type() == at::kHalf ? converted<at::Half, float>(x, at::kFloat)
                                      : converted<at::BFloat16, float>(x, at::kFloat);
}

bool takes_weight(const Tensor& weight) {
  const auto type = weight.scalar_type();
  return weight.is_cpu() && weight.dim() == 2 && (type == at::kFloat || type == at::kBFloat16);
}

void pack(const Tensor& weight, const Tensor& panels, const Tensor& scales) {
  const auto rows = weight.contiguous();
  const auto from = rows.scalar_type(), to = panels.scalar_type();
  require(from == at::kFloat || (from == at::kBFloat16 && to == from), "pack: weights of ",
          rows.dtype().name(), " for panels of ", panels.dtype().name());
  share_packing(rows, 0, rows.size(0), panels, scales);
}

Tensor linear(const Tensor& x, const Weight& weight) {
  const auto x_rows = x.stride(1) == 1 ? x : x.contiguous();
  const int64_t depth = x.size(1), columns = weight.rows.size(0);
  auto result = at::empty({x.size(0), columns}, x.options().requires_grad(false));
  if (depth == 0) return result.zero_();
  const auto multiply = [&](const Tensor& panels, int64_t first, int64_t count) {
    share_product({.x = x_rows.const_data_ptr<float>(),
                   .x_stride = x_rows.stride(0),
                   .rows = x.size(0),
                   .depth = depth,
                   .columns = count,
                   .rounds_to = number_type(weight.rounds_rows_to()),
                   .panels = panels.const_data_ptr(),
                   .type = type_of_packed(panels),
                   .scales = weight.scales.defined() ? weight.scales.const_data_ptr<float>() : nullptr,
                   .out = result.mutable_data_ptr<float>() + first,
                   .out_stride = columns});
  };
  if (weight.packed.defined()) {
    multiply(weight.packed, 0, columns);
    return result;
  }
  const auto rows = weight.rows.contiguous();
  const int64_t step = columns_laid_out(columns, depth);
  const auto panels =
      at::empty({model::cpu::packed_size(step, depth)}, weight.rounds_to().value_or(rows.scalar_type()));
  for (int64_t first = 0; first < columns; first += step) {
    const int64_t count = std::min(step, columns - first);
    share_packing(rows, first, count, panels, {});
    multiply(panels, first, count);
  }
  return result;
}

}  // namespace sluice::model::raw::cpu
