// One product of rows with packed weights, shared among threads.
#pragma once

#include <algorithm>

#include "base/shared_work.h"
#include "model/kernels/kernels.h"

namespace sluice::model {

constexpr int64_t panels_of(int64_t columns) {
  return (columns + cpu::kPanelColumns - 1) / cpu::kPanelColumns;
}

// How many of a weight's columns are laid out as panels at once: so few that they stay in the cache and take
// no memory to speak of, in whole panels.
constexpr int64_t columns_laid_out(int64_t columns, int64_t depth) {
  constexpr int64_t kNumbers = int64_t{1} << 19, kPanel = cpu::kPanelColumns;
  const int64_t fit = std::max<int64_t>(1, kNumbers / std::max<int64_t>(depth * kPanel, 1));
  return std::min(fit, panels_of(columns)) * kPanel;
}

// Calls lay_out(first, count) for columns, in whole panels, that together are all.
template <class LayOut>
void share_layout(int64_t columns, int64_t depth, const LayOut& lay_out) {
  constexpr int64_t kWorthAThread = int64_t{1} << 16, kPanel = cpu::kPanelColumns;  // numbers
  const int64_t grain = kWorthAThread / std::max<int64_t>(depth * kPanel, 1) + 1;
  share_work(panels_of(columns), grain, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kPanel;
    lay_out(first, std::min(end * kPanel, columns) - first);
  });
}

// By rows where there are many: each thread then reads its own and writes whole ones, a tenth faster. By
// panels else. What a number is made of stays as it is.
inline void share_product(const cpu::MatmulCall& all) {
  constexpr int64_t kWorthAThread = int64_t{1} << 20;  // products
  constexpr int64_t kRows = 48;                        // that the kernel takes together
  constexpr int64_t kPanel = cpu::kPanelColumns;
  const auto grain = [&](int64_t rows, int64_t columns) {
    return kWorthAThread / std::max<int64_t>(rows * columns * all.depth, 1) + 1;
  };
  if (all.rows >= 2 * kRows * work_threads()) {
    share_work((all.rows + kRows - 1) / kRows, grain(kRows, all.columns), [&](int64_t begin, int64_t end) {
      auto part = all;
      part.x += begin * kRows * all.x_stride;
      part.out += begin * kRows * all.out_stride;
      part.rows = std::min(end * kRows, all.rows) - begin * kRows;
      cpu::kernels().matmul(part);
    });
    return;
  }
  share_work(panels_of(all.columns), grain(all.rows, kPanel), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kPanel;
    auto part = all;
    part.panels =
        static_cast<const char*>(all.panels) + cpu::packed_size(first, all.depth) * cpu::size_of(all.type);
    if (all.scales != nullptr) part.scales += first;
    if (all.bias != nullptr) part.bias += first;
    part.out += first;
    part.columns = std::min(end * kPanel, all.columns) - first;
    cpu::kernels().matmul(part);
  });
}

}  // namespace sluice::model
