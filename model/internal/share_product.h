// One product of rows with packed weights, shared among threads.
#pragma once

#include <algorithm>

#include "base/shared_work.h"
#include "model/kernels/kernels.h"

namespace sluice::model {

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
  share_work((all.columns + kPanel - 1) / kPanel, grain(all.rows, kPanel), [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kPanel;
    auto part = all;
    part.panels = static_cast<const char*>(all.panels) + first * all.depth * cpu::size_of(all.type);
    if (all.scales != nullptr) part.scales += first;
    if (all.bias != nullptr) part.bias += first;
    part.out += first;
    part.columns = std::min(end * kPanel, all.columns) - first;
    cpu::kernels().matmul(part);
  });
}

}  // namespace sluice::model
