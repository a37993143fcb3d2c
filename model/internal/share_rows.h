// Rows that are computed each by itself, shared among threads.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/shared_work.h"

namespace sluice::model {

// Calls work(first, count) for all of the rows.
template <class Work>
void share_rows(int64_t rows, int64_t width, const Work& work) {
  constexpr int64_t kWorthAThread = int64_t{1} << 15;  // numbers
  const int64_t grain = kWorthAThread / std::max<int64_t>(width, 1) + 1;
  share_work(rows, grain, [&](int64_t begin, int64_t end) { work(begin, end - begin); });
}

}  // namespace sluice::model
