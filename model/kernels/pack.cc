#include <algorithm>

#include "model/kernels/kernels.h"

namespace sluice::model::cpu {
namespace {

// Part of k goes at a time, so that what is written stays in the first-level cache until its lines are full.
template <class T, class Place>
void pack_panels(const T* weight, int64_t columns, int64_t depth, T* panels, Place place) {
  constexpr int64_t kPart = 64;
  for (int64_t first = 0; first < columns; first += kPanelColumns, panels += depth * kPanelColumns) {
    for (int64_t begin = 0; begin < depth; begin += kPart) {
      const int64_t end = std::min(begin + kPart, depth);
      for (int64_t j = 0; j < kPanelColumns; ++j) {
        T* to = panels + place(j);
        const T* from = weight + (first + j) * depth;
        const bool there = first + j < columns;
        for (int64_t k = begin; k < end; ++k) to[k * kPanelColumns] = there ? from[k] : T{};
      }
    }
  }
}

}  // namespace

int64_t packed_size(int64_t columns, int64_t depth) {
  return (columns + kPanelColumns - 1) / kPanelColumns * kPanelColumns * depth;
}

void pack(const float* weight, int64_t columns, int64_t depth, float* panels) {
  pack_panels(weight, columns, depth, panels, [](int64_t j) { return j; });
}

void pack(const uint16_t* weight, int64_t columns, int64_t depth, uint16_t* panels) {
  constexpr int64_t kHalf = kPanelColumns / 2;
  pack_panels(weight, columns, depth, panels,
              [](int64_t j) { return j < kHalf ? 2 * j : 2 * (j - kHalf) + 1; });
}

}  // namespace sluice::model::cpu
