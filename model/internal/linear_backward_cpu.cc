#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "base/shared_work.h"
#include "model/internal/implementations.h"
#include "model/internal/share_product.h"
#include "model/kernels/kernels.h"

namespace sluice::model::raw::cpu {
namespace {

using at::Tensor;
using model::cpu::kernels;

constexpr int64_t kPanel = model::cpu::kPanelColumns, kWorthAThread = int64_t{1} << 20;  // products

// With its numbers side by side in every row.
Tensor in_rows(const Tensor& x) { return x.stride(1) == 1 ? x : x.contiguous(); }

// Where lines of the cache begin, as vectors do: a kernel runs a fifth slower on memory from `new`.
Tensor scratch_of(int64_t count) { return at::empty({count}, at::kFloat); }

// The weight is laid out the other way round, so much of it at a time that its panels stay in the cache.
void multiply_grad(const Tensor& grad, const Weight& weight, Tensor& result, bool adds) {
  const auto type = model::cpu::turned_type(raw::number_type(weight.rounds_rows_to()));
  constexpr int64_t kFloatBytes = sizeof(float);  // what panels are reckoned in
  const int64_t size = model::cpu::size_of(type);
  const int64_t deepest = type == model::cpu::WeightType::Parts ? 512 : 2048;
  const auto rows = in_rows(grad), numbers = in_rows(in_type_of(grad, weight.rows));
  const int64_t depth = numbers.size(0), columns = numbers.size(1);
  const int64_t most_deep = std::min(depth, deepest);
  const int64_t step = columns_laid_out(columns, most_deep * size / kFloatBytes);
  const auto scratch = at::empty({model::cpu::packed_size(step, most_deep) * size}, at::kByte);
  auto* const panels = static_cast<char*>(scratch.mutable_data_ptr());
  const auto lay_out = [&](int64_t k, int64_t deep, int64_t first, int64_t count) {
    const auto* const from = numbers.const_data_ptr<float>() + k * numbers.stride(0) + first;
    share_layout(count, deep, [&](int64_t at, int64_t part) {
      model::cpu::pack_turned(from + at, numbers.stride(0), deep, part, raw::number_type(weight.rounds_to()),
                              type, panels + model::cpu::packed_size(at, deep) * size);
    });
  };
  for (int64_t k = 0; k < depth; k += deepest) {
    const int64_t deep = std::min(deepest, depth - k);
    for (int64_t first = 0; first < columns; first += step) {
      const int64_t count = std::min(step, columns - first);
      lay_out(k, deep, first, count);
      share_product({.x = rows.const_data_ptr<float>() + k,
                     .x_stride = rows.stride(0),
                     .rows = grad.size(0),
                     .depth = deep,
                     .columns = count,
                     .rounds_to = raw::number_type(weight.rounds_rows_to()),
                     .panels = panels,
                     .type = type,
                     .adds = adds || k > 0,
                     .out = result.mutable_data_ptr<float>() + first,
                     .out_stride = columns});
    }
  }
}

}  // namespace

Tensor linear_grad_x(const Tensor& grad, const Weight& weight) {
  const std::vector<int64_t> shape = {grad.size(0), weight.rows.size(1)};
  auto result =
      weight.rows.size(0) == 0 ? at::zeros(shape, grad.options()) : at::empty(shape, grad.options());
  multiply_grad(grad, weight, result, /*adds=*/false);
  return result;
}

void add_linear_grad_x(const Tensor& grad, const Weight& weight, Tensor& sum) {
  multiply_grad(grad, weight, sum, /*adds=*/true);
}

// Threads share the longer side of the sum, and each lays out the whole of the other, again for every so many
// columns: what a vocabulary has of them is not laid out at once.
void add_linear_grad_weight(const Tensor& grad, const Tensor& x, NarrowType type, Tensor& sum) {
  constexpr int64_t kColumns = 1024;
  const auto a = in_rows(grad), b = in_rows(x);
  const int64_t out = sum.size(0), in = sum.size(1), rows = grad.size(0);
  model::cpu::OuterCall call_of_all{.rounds_to = raw::number_type(type),
                                    .a = a.const_data_ptr<float>(),
                                    .b = b.const_data_ptr<float>(),
                                    .a_stride = a.stride(0),
                                    .b_stride = b.stride(0),
                                    .a_columns = out,
                                    .b_columns = in,
                                    .rows = rows,
                                    .out = sum.mutable_data_ptr<float>(),
                                    .out_stride = in};
  const bool shares_out = out >= in;
  const int64_t longer = std::max(out, in), shorter = std::min(out, in);
  // More parts than threads lay out the shorter side more often, which costs up to a quarter of the products.
  const int64_t wide = std::min(kColumns / 2 / kPanel, panels_of(longer) / work_threads());
  const int64_t grain = std::max(wide, kWorthAThread / std::max<int64_t>(rows * shorter * kPanel, 1) + 1);
  share_work(panels_of(longer), grain, [&](int64_t begin, int64_t end) {
    const int64_t last = std::min(end * kPanel, longer), most = std::min(kColumns, last - begin * kPanel);
    const auto scratch = scratch_of(model::cpu::outer_scratch(most, shorter));
    for (int64_t first = begin * kPanel; first < last; first += kColumns) {
      auto call = call_of_all;
      (shares_out ? call.a_columns : call.b_columns) = std::min(kColumns, last - first);
      (shares_out ? call.a : call.b) += first;
      call.out += shares_out ? first * in : first;
      call.scratch = scratch.mutable_data_ptr<float>();
      kernels().outer(call);
    }
  });
}

}  // namespace sluice::model::raw::cpu
