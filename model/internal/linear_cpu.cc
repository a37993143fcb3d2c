#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "base/shared_work.h"
#include "model/internal/implementations.h"
#include "model/kernels/kernels.h"

namespace sluice::model::raw::cpu {
namespace {

using at::Tensor;
using model::cpu::kernels;

constexpr int64_t kPanel = model::cpu::kPanelColumns;

int64_t panels_of(int64_t columns) { return (columns + kPanel - 1) / kPanel; }

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
  } else {
    model::cpu::pack(wide, count, depth, static_cast<float*>(panels));
  }
}

// Some columns of x * weight^T, whose panels these are.
void multiply(const Tensor& x, const void* panels, at::ScalarType type, const float* scales, int64_t first,
              int64_t count, Tensor& result) {
  using model::cpu::WeightType;
  kernels().matmul({.x = x.const_data_ptr<float>(),
                    .x_stride = x.stride(0),
                    .rows = x.size(0),
                    .depth = x.size(1),
                    .columns = count,
                    .panels = panels,
                    .type = type == at::kChar       ? WeightType::Int8
                            : type == at::kBFloat16 ? WeightType::BFloat16
                                                    : WeightType::Float32,
                    .scales = scales == nullptr ? nullptr : scales + first,
                    .out = result.mutable_data_ptr<float>() + first,
                    .out_stride = result.size(1)});
}

}  // namespace

bool takes_weight(const Tensor& weight) {
  const auto type = weight.scalar_type();
  return weight.is_cpu() && weight.dim() == 2 && (type == at::kFloat || type == at::kBFloat16);
}

// Threads share the panels, as they do in linear().
void pack(const Tensor& weight, const Tensor& panels, const Tensor& scales) {
  constexpr int64_t kWorthAThread = int64_t{1} << 16;  // numbers
  const auto rows = weight.contiguous();
  const int64_t columns = rows.size(0), depth = rows.size(1);
  const auto from = rows.scalar_type(), to = panels.scalar_type();
  require(from == at::kFloat || (from == at::kBFloat16 && to == from), "pack: weights of ",
          rows.dtype().name(), " for panels of ", panels.dtype().name());
  const int64_t grain = kWorthAThread / std::max<int64_t>(depth * kPanel, 1) + 1;
  share_work(panels_of(columns), grain, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kPanel;
    pack_rows(rows, first, std::min(end * kPanel, columns) - first,
              static_cast<char*>(panels.mutable_data_ptr()) + first * depth * panels.itemsize(), to,
              scales.defined() ? scales.mutable_data_ptr<float>() + first : nullptr);
  });
}

// Threads share the panels: what a number is made of stays as it is. Each packs its own where there are none,
// so few at a time that they stay in the cache and take no memory to speak of.
Tensor linear(const Tensor& x, const Weight& weight) {
  constexpr int64_t kWorthAThread = int64_t{1} << 20, kPackedNumbers = int64_t{1} << 19;
  const auto x_rows = x.stride(1) == 1 ? x : x.contiguous();
  const int64_t depth = x.size(1), columns = weight.rows.size(0);
  auto result = at::empty({x.size(0), columns}, x.options().requires_grad(false));
  const bool packs = !weight.packed.defined();
  const auto type = !packs            ? weight.packed.scalar_type()
                    : weight.rounds() ? at::kBFloat16
                                      : weight.rows.scalar_type();
  const auto rows = packs ? weight.rows.contiguous() : weight.rows;
  const float* const scales = weight.scales.defined() ? weight.scales.const_data_ptr<float>() : nullptr;
  const int64_t grain = kWorthAThread / std::max<int64_t>(x.size(0) * depth * kPanel, 1) + 1;
  share_work(panels_of(columns), grain, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(end * kPanel, columns);
    if (!packs) {
      const auto* const panels = static_cast<const char*>(weight.packed.const_data_ptr()) +
                                 begin * kPanel * depth * weight.packed.itemsize();
      return multiply(x_rows, panels, type, scales, begin * kPanel, last - begin * kPanel, result);
    }
    const int64_t fit = std::max<int64_t>(1, kPackedNumbers / std::max<int64_t>(depth * kPanel, 1)) * kPanel;
    const int64_t step = std::min(fit, (end - begin) * kPanel);
    const auto panels = at::empty({step * depth}, type);
    for (int64_t first = begin * kPanel; first < last; first += step) {
      const int64_t count = std::min(step, last - first);
      pack_rows(rows, first, count, panels.mutable_data_ptr(), type, nullptr);
      multiply(x_rows, panels.const_data_ptr(), type, scales, first, count, result);
    }
  });
  return result;
}

}  // namespace sluice::model::raw::cpu
