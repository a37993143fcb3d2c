#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/error.h"
#include "model/kernels/kernels.h"
#include "model/kernels/tiles.h"

namespace sluice::model::cpu {
namespace {

constexpr int64_t kTile =
    kPanelColumns;  // a tile is as deep as a panel is wide: lines of the cache both ways

using Four = float __attribute__((vector_size(16)));

Four load(const float* from) {
  Four four;
  std::memcpy(&four, from, sizeof four);
  return four;
}

// Four columns of four numbers each, `stride` apart, become four rows of a tile.
void turn(const float* from, int64_t stride, float* tile) {
  const Four a = load(from), b = load(from + stride), c = load(from + 2 * stride),
             d = load(from + 3 * stride);
  const Four ac = __builtin_shufflevector(a, c, 0, 4, 1, 5), bd = __builtin_shufflevector(b, d, 0, 4, 1, 5),
             ac_high = __builtin_shufflevector(a, c, 2, 6, 3, 7),
             bd_high = __builtin_shufflevector(b, d, 2, 6, 3, 7);
  const Four rows[4] = {__builtin_shufflevector(ac, bd, 0, 4, 1, 5),
                        __builtin_shufflevector(ac, bd, 2, 6, 3, 7),
                        __builtin_shufflevector(ac_high, bd_high, 0, 4, 1, 5),
                        __builtin_shufflevector(ac_high, bd_high, 2, 6, 3, 7)};
  for (int64_t k = 0; k < 4; ++k) std::memcpy(tile + k * kTile, &rows[k], sizeof(Four));
}

void turn_whole(const float* from, int64_t stride, float* tile) {
  for (int64_t j = 0; j < kTile; j += 4) {
    for (int64_t k = 0; k < kTile; k += 4) turn(from + j * stride + k, stride, tile + k * kTile + j);
  }
}

// Columns that are not there are zeros, and so is what an odd depth lacks.
template <class Number>
void turn_part(const Number* from, int64_t stride, int64_t columns, int64_t depth, Number* tile) {
  std::fill_n(tile, panel_depth(depth) * kTile, Number{});
  for (int64_t j = 0; j < columns; ++j) {
    for (int64_t k = 0; k < depth; ++k) tile[k * kTile + j] = from[j * stride + k];
  }
}

// Calls use(tile, first row, depth, first column) for the tiles of each panel from above, where `tile_at`
// says to turn them.
template <class Number, class Place, class Use>
void for_each_tile(const Number* weight, int64_t columns, int64_t depth, Place tile_at, Use use) {
  for (int64_t first = 0; first < columns; first += kTile) {
    const int64_t wide = std::min(kTile, columns - first);
    for (int64_t begin = 0; begin < depth; begin += kTile) {
      const int64_t deep = std::min(kTile, depth - begin);
      const Number* const from = weight + first * depth + begin;
      // Sixteen rows at once are more than the processor foresees by itself.
      for (int64_t j = 0; j < wide; ++j) __builtin_prefetch(from + j * depth + 2 * kTile);
      Number* const tile = tile_at(first, begin);
      if constexpr (std::is_same_v<Number, float>) {
        wide == kTile&& deep == kTile ? turn_whole(from, depth, tile)
                                      : turn_part(from, depth, wide, deep, tile);
      } else {
        turn_part(from, depth, wide, deep, tile);
      }
      use(tile, begin, deep, first);
    }
  }
}

// Where the row k of a panel begins.
template <class Number>
Number* row_of(Number* panel, int64_t k) {
  return panel + k * kTile;
}
// By way of tiles of its own: place(numbers, depth, row) puts converted rows where they belong, from a
// panel's `row` on. What an odd depth lacks is zeros.
template <class From, class To, class Convert, class Place>
void pack_panels(const From* weight, int64_t columns, int64_t depth, To* panels, Convert convert,
                 Place place) {
  From tile[kTile * kTile];
  for_each_tile(
      weight, columns, depth, [&](int64_t, int64_t) { return tile; },
      [&](const From* numbers, int64_t begin, int64_t deep, int64_t first) {
        To converted[kTile * kTile] = {};
        for (int64_t k = 0; k < deep; ++k) {
          for (int64_t j = 0; j < kTile; ++j)
            converted[k * kTile + j] = convert(numbers[k * kTile + j], first + j);
        }
        place(converted, panel_depth(deep), row_of(panels + first * panel_depth(depth), begin));
      });
}

// Of the nearest number of bfloat16, whose bits are the upper half: ties go to even.
uint32_t rounded_bits(float number) {
  const auto bits = std::bit_cast<uint32_t>(number);
  const uint32_t nearest = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
  return std::isnan(number) ? 0x7fc00000u : nearest;
}

// The bits of the nearest number of float16: ties go to even, NaN stays one.
uint16_t half_bits(float number) {
  constexpr uint32_t kSign = 0x80000000u, kInfinite = 0x7f800000u, kTooLarge = 0x477ff000u,
                     kLeastNormal = 0x38800000u, kOther = 112u << 10;  // how much the exponents differ
  const auto bits = std::bit_cast<uint32_t>(number), size = bits & ~kSign;
  const uint32_t normal = ((size + 0xfffu + (size >> 13 & 1u)) >> 13) - kOther;
  // A float32 from 0.5 on counts in steps of the least number of float16.
  const uint32_t small =
      std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5f) - std::bit_cast<uint32_t>(0.5f);
  const uint32_t large = size > kInfinite ? 0x7e00u : 0x7c00u;
  const uint32_t half = size < kLeastNormal ? small : size < kTooLarge ? normal : large;
  return static_cast<uint16_t>(half | (bits >> 16 & 0x8000u));
}

// As round_to_float16() of simd.inc.
float rounded_to_half(float number) {
  const float size = std::abs(number);
  const auto bits = std::bit_cast<uint32_t>(size);
  float nearest = std::bit_cast<float>((bits + 0xfffu + (bits >> 13 & 1u)) & ~0x1fffu);
  nearest = size < 0x1p-14f ? (size + 0.5f) - 0.5f : nearest;
  nearest = size < 65520.0f ? nearest : size + std::numeric_limits<float>::infinity();
  return std::copysign(nearest, number);
}

float rounded(float number, NumberType type) {
  switch (type) {
    case NumberType::Float32:
      return number;
    case NumberType::BFloat16:
      return std::bit_cast<float>(rounded_bits(number));
    case NumberType::Float16:
      return rounded_to_half(number);
  }
  fail("pack: no type has the number ", static_cast<int>(type));
}

constexpr float kMost = 127;  // of an int8 number

// The nearest whole number, ties to even: std::nearbyint() of a number far below 2^22 without the call.
float nearest(float x) {
  constexpr float kOnlyWhole = 0x1.8p23f;  // from here on there are no fractions
  return (x + kOnlyWhole) - kOnlyWhole;
}

constexpr auto in_pairs = [](const uint16_t* numbers, int64_t depth, uint16_t* to) {
  for (int64_t k = 0; k < depth; k += 2, numbers += 2 * kTile) {
    for (int64_t j = 0; j < kTile; ++j) {
      *to++ = numbers[j];
      *to++ = numbers[kTile + j];
    }
  }
};

}  // namespace

int64_t packed_size(int64_t columns, int64_t depth) {
  return (columns + kPanelColumns - 1) / kPanelColumns * kPanelColumns * panel_depth(depth);
}

void pack(const float* weight, int64_t columns, int64_t depth, float* panels) {
  for_each_tile(
      weight, columns, depth,
      [&](int64_t first, int64_t k) { return row_of(panels + first * panel_depth(depth), k); },
      [](const float*, int64_t, int64_t, int64_t) {});
}

// Some rows at a time, so that each is read from one end to the other.
void pack_turned(const float* numbers, int64_t stride, int64_t depth, int64_t columns, NumberType rounds_to,
                 WeightType type, void* to_panels) {
  if (type != WeightType::Float32)
    return tiles::pack_turned(numbers, stride, depth, columns, rounds_to, type, to_panels);
  auto* const panels = static_cast<float*>(to_panels);
  for (int64_t begin = 0; begin < depth; begin += kTile) {
    const int64_t end = std::min(begin + kTile, depth);
    for (int64_t first = 0; first < columns; first += kPanelColumns) {
      const int64_t wide = std::min(kPanelColumns, columns - first);
      float* to = row_of(panels + first * panel_depth(depth), begin);
      for (int64_t k = begin; k < end; ++k, to += kPanelColumns) {
        const float* const from = numbers + k * stride + first;
        if (wide == kPanelColumns) [[likely]] {
          std::memcpy(to, from, kPanelColumns * sizeof(float));
        } else {
          std::fill_n(to, kPanelColumns, 0.0f);
          std::copy_n(from, wide, to);
        }
        if (rounds_to == NumberType::Float32) continue;
        for (int64_t j = 0; j < kPanelColumns; ++j) to[j] = rounded(to[j], rounds_to);
      }
    }
  }
}

void pack(const uint16_t* weight, int64_t columns, int64_t depth, uint16_t* panels) {
  pack_panels(
      weight, columns, depth, panels, [](uint16_t number, int64_t) { return number; }, in_pairs);
}

void pack(const float* weight, int64_t columns, int64_t depth, uint16_t* panels) {
  const auto rounded = [](float number, int64_t) {
    return static_cast<uint16_t>(rounded_bits(number) >> 16);
  };
  pack_panels(weight, columns, depth, panels, rounded, in_pairs);
}

void pack(const float* weight, int64_t columns, int64_t depth, Float16* panels) {
  pack_panels(
      weight, columns, depth, panels, [](float number, int64_t) { return Float16{half_bits(number)}; },
      [](const Float16* numbers, int64_t deep, Float16* to) { std::copy_n(numbers, deep * kTile, to); });
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
  const auto rounded = [scales](float number, int64_t column) {
    if (number == 0) return int8_t{0};  // as all of a padding column, which has no scale
    return static_cast<int8_t>(nearest(std::clamp(number / scales[column], -kMost, kMost)));
  };
  pack_panels(weight, columns, depth, panels, rounded, [](const int8_t* numbers, int64_t deep, int8_t* to) {
    std::copy_n(numbers, deep * kTile, to);
  });
}

}  // namespace sluice::model::cpu
