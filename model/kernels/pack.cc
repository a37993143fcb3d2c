#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "model/kernels/kernels.h"

namespace sluice::model::cpu {
namespace {

// Part of k goes at a time, so that what is written stays in the first-level cache until its lines are full.
template <class From, class To, class Place, class Convert>
void pack_panels(const From* weight, int64_t columns, int64_t depth, To* panels, Place place,
                 Convert convert) {
  constexpr int64_t kPart = 64;
  for (int64_t first = 0; first < columns; first += kPanelColumns, panels += depth * kPanelColumns) {
    for (int64_t begin = 0; begin < depth; begin += kPart) {
      const int64_t end = std::min(begin + kPart, depth);
      for (int64_t j = 0; j < kPanelColumns; ++j) {
        To* to = panels + place(j);
        const From* from = weight + (first + j) * depth;
        const bool there = first + j < columns;
        for (int64_t k = begin; k < end; ++k)
          to[k * kPanelColumns] = there ? convert(from[k], first + j) : To{};
      }
    }
  }
}

constexpr float kMost = 127;  // of an int8 number
constexpr int64_t kHalf = kPanelColumns / 2;
constexpr auto in_pairs = [](int64_t j) { return j < kHalf ? 2 * j : 2 * (j - kHalf) + 1; };
constexpr auto in_order = [](int64_t j) { return j; };
constexpr auto as_it_is = [](auto number, int64_t) { return number; };

}  // namespace

int64_t packed_size(int64_t columns, int64_t depth) {
  return (columns + kPanelColumns - 1) / kPanelColumns * kPanelColumns * depth;
}

void pack(const float* weight, int64_t columns, int64_t depth, float* panels) {
  pack_panels(weight, columns, depth, panels, in_order, as_it_is);
}

void pack(const uint16_t* weight, int64_t columns, int64_t depth, uint16_t* panels) {
  pack_panels(weight, columns, depth, panels, in_pairs, as_it_is);
}

void pack(const float* weight, int64_t columns, int64_t depth, uint16_t* panels) {
  pack_panels(weight, columns, depth, panels, in_pairs, [](float number, int64_t) {
    if (std::isnan(number)) return uint16_t{0x7fc0};
    const auto bits = std::bit_cast<uint32_t>(number);
    return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);  // ties go to even
  });
}

void pack(const float* weight, int64_t columns, int64_t depth, int8_t* panels, float* scales) {
  for (int64_t column = 0; column < columns; ++column) {
    float largest = 0;
    bool finite = true;
    for (int64_t k = 0; k < depth; ++k) {
      const float size = std::abs(weight[column * depth + k]);
      largest = std::max(largest, size);
      finite = finite && size <= std::numeric_limits<float>::max();  // NaN is not
    }
    require(finite, "pack: a weight of column ", column, " is not finite: there is no 8-bit number for it");
    scales[column] = largest / kMost;
  }
  pack_panels(weight, columns, depth, panels, in_order, [scales](float number, int64_t column) {
    const float scale = scales[column];
    return static_cast<int8_t>(scale > 0 ? std::clamp(std::nearbyint(number / scale), -kMost, kMost) : 0.0f);
  });
}

}  // namespace sluice::model::cpu
