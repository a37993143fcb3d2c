#include "model/kernels/tiles.h"

#include "base/error.h"
#include "model/kernels/scratch.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

// A tile is 16 rows of 16 words. The left factor's words are pairs of numbers k and k + 1 of a row; the right
// one's are pairs of rows k and k + 1, so that a panel of the weights is such tiles end to end. Factors of
// float32 have a tile for each of their parts. A strip is 16 rows of the left factor, a block 32 numbers of
// each.
#define SLUICE_INLINE [[gnu::always_inline]] inline
#define SLUICE_UNROLL _Pragma("GCC unroll 24")

// The compiler knows nothing of tiles: what it has to keep in order are loads and stores of memory.
#define SLUICE_TILE_LOAD(tile, from, stride) \
  asm volatile("tileloadd (%0,%1,1), %%tmm" #tile : : "r"(from), "r"(stride) : "memory")
#define SLUICE_TILE_STORE(tile, to, stride) \
  asm volatile("tilestored %%tmm" #tile ", (%0,%1,1)" : : "r"(to), "r"(stride) : "memory")
#define SLUICE_TILE_ZERO(tile) asm volatile("tilezero %%tmm" #tile : :)
// sum += a * b
#define SLUICE_TILE_MULTIPLY(sum, a, b) asm volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum : :)

namespace sluice::model::cpu::tiles {
namespace {

constexpr int64_t kRows = 16, kWords = 16, kTileWords = kRows * kWords, kBlock = 2 * kWords;
constexpr int kNumParts = 3;

bool ask_for_tiles() {
  constexpr unsigned kBFloat16Tiles = 1u << 22, kTiles = 1u << 24;
  constexpr long kAskForState = 0x1023, kTileState = 18;  // ARCH_REQ_XCOMP_PERM, the tiles' data
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kBFloat16Tiles) != 0 && (d & kTiles) != 0 && has(InstructionSet::Avx512) &&
         ::syscall(SYS_arch_prctl, kAskForState, kTileState) == 0;
}

}  // namespace

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
namespace {
#define SLUICE_VECTOR_BYTES 64
#include "model/kernels/simd.inc"
#undef SLUICE_VECTOR_BYTES
typedef uint32_t WordVec __attribute__((vector_size(64)));
typedef uint16_t HalfVec __attribute__((vector_size(64)));

constexpr uint32_t kUpper = 0xffff0000u;  // of a word, the number of bfloat16 in float32

SLUICE_INLINE WordVec words_of(Vec x) { return reinterpret_cast<WordVec>(x); }
SLUICE_INLINE Vec numbers_of(WordVec x) { return reinterpret_cast<Vec>(x); }
SLUICE_INLINE void store(uint32_t* to, WordVec x) { *reinterpret_cast<WordVec*>(to) = x; }

// Numbers as their parts, each in the upper half of its word. Of three the two first are rounded to the
// nearest, the last is what is left, and keeps a NaN. One part alone is the number rounded to bfloat16.
template <int P>
SLUICE_INLINE void split(Vec x, WordVec (&parts)[P]) {
  constexpr uint32_t kHalf = 0x8000u;
  SLUICE_UNROLL
  for (int p = 0; p + 1 < P; ++p) {
    parts[p] = (words_of(x) + kHalf) & kUpper;
    x -= numbers_of(parts[p]);
  }
  parts[P - 1] = P == 1 ? words_of(round_to_bfloat16(x)) : words_of(x) & kUpper;
}

// The upper halves of 32 words, in order.
SLUICE_INLINE WordVec upper_halves(WordVec a, WordVec b) {
  return reinterpret_cast<WordVec>(__builtin_shufflevector(
      reinterpret_cast<HalfVec>(a), reinterpret_cast<HalfVec>(b), 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23,
      25, 27, 29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63));
}

// Lanes whose number has the bit `Step` change places with the lanes without it, that many rows further.
template <int Step>
SLUICE_INLINE void turn_by(WordVec (&rows)[kRows]) {
  const WordVec lanes = reinterpret_cast<WordVec>(lane_numbers());
  constexpr uint32_t kStep = Step, kOther = 16;  // lanes of the other row
  const WordVec above = lanes & kStep, from_above = above / kStep * kOther;
  SLUICE_UNROLL
  for (int i = 0; i < kRows; ++i) {
    if ((i & Step) != 0) continue;
    const WordVec a = rows[i], b = rows[i + Step];
    rows[i] = __builtin_shuffle(a, b, (lanes & ~kStep) + from_above);
    rows[i + Step] = __builtin_shuffle(a, b, (lanes | kStep) + from_above);
  }
}
// A tile of words the other way round.
SLUICE_INLINE void turn(WordVec (&rows)[kRows]) {
  turn_by<8>(rows);
  turn_by<4>(rows);
  turn_by<2>(rows);
  turn_by<1>(rows);
}

// A block of 16 rows, which are `stride` apart, as the left factor's tiles: zeros where there are no rows and
// no depth.
template <int P>
[[gnu::noinline]] void lay_out_rows(const float* from, int64_t stride, int64_t rows, int64_t depth,
                                    uint32_t* to) {
  constexpr int64_t kAhead =
      64;  // numbers; sixteen rows at once are more than the processor foresees by itself
  for (int64_t row = 0; row < kRows; ++row, from += stride, to += kWords) {
    WordVec first[P] = {}, second[P] = {};
    if (row < rows) [[likely]] {
      __builtin_prefetch(from + kAhead);
      split(load(from, depth), first);
      split(load_some(from + W, depth - W), second);
    }
    SLUICE_UNROLL
    for (int p = 0; p < P; ++p) store(to + p * kTileWords, upper_halves(first[p], second[p]));
  }
}

// 16 columns of `rows` rows in pairs, [pairs, 16] for each part: the right factor's tiles.
template <int P, bool kRounds = false>
SLUICE_INLINE void pairs_of(const float* from, int64_t stride, int64_t row, int64_t rows, int64_t columns,
                            WordVec (&pairs)[P]) {
  constexpr int64_t kAhead = 64;
  WordVec first[P] = {}, second[P] = {};
  const auto read = [&](int64_t at, WordVec(&parts)[P]) [[gnu::always_inline]] {
    __builtin_prefetch(from + at * stride + kAhead);
    const Vec numbers = load(from + at * stride, columns);
    split(kRounds ? round_to_bfloat16(numbers) : numbers, parts);
  };
  if (row < rows) [[likely]]
    read(row, first);
  if (row + 1 < rows) [[likely]]
    read(row + 1, second);
  SLUICE_UNROLL
  for (int p = 0; p < P; ++p) pairs[p] = first[p] >> 16 | second[p];
}
template <int P, bool kRounds = false>
[[gnu::noinline]] void lay_out_pairs(const float* from, int64_t stride, int64_t rows, int64_t columns,
                                     int64_t num_pairs, uint32_t* to) {
  for (int64_t pair = 0; pair < num_pairs; ++pair) {
    WordVec pairs[P];
    pairs_of<P, kRounds>(from, stride, 2 * pair, rows, columns, pairs);
    SLUICE_UNROLL
    for (int p = 0; p < P; ++p) store(to + (p * num_pairs + pair) * kWords, pairs[p]);
  }
}
// The same as the left factor's tiles, whose rows are the columns.
template <int P>
[[gnu::noinline]] void lay_out_turned(const float* from, int64_t stride, int64_t rows, int64_t columns,
                                      uint32_t* to) {
  WordVec tiles[P][kRows];
  for (int64_t pair = 0; pair < kRows; ++pair) {
    WordVec pairs[P];
    pairs_of<P>(from, stride, 2 * pair, rows, columns, pairs);
    SLUICE_UNROLL
    for (int p = 0; p < P; ++p) tiles[p][pair] = pairs[p];
  }
  SLUICE_UNROLL
  for (int p = 0; p < P; ++p) {
    turn(tiles[p]);
    for (int64_t row = 0; row < kRows; ++row) store(to + p * kTileWords + row * kWords, tiles[p][row]);
  }
}

// The tiles of a thread are those of 16 rows and 16 words as long as this lives.
class TileShapes {
 public:
  TileShapes() {
    struct alignas(64) {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t bytes_of_row[16] = {};
      uint8_t rows[16] = {};
    } shapes;
    for (int tile = 0; tile < 8; ++tile) {
      shapes.bytes_of_row[tile] = kWords * sizeof(uint32_t);
      shapes.rows[tile] = kRows;
    }
    asm volatile("ldtilecfg %0" : : "m"(shapes));
  }
  TileShapes(const TileShapes&) = delete;
  TileShapes& operator=(const TileShapes&) = delete;
  ~TileShapes() { asm volatile("tilerelease" : :); }
};

constexpr int64_t kStride = kWords * sizeof(uint32_t);  // of the rows of a tile

// One or two strips or panels side by side, `apart` words.
struct Factor {
  const uint32_t* at;
  int64_t apart;
};

// Sums are the tiles 0 .. 3, strips 4 and 5, panels 6 and 7.
template <int R>
SLUICE_INLINE void load_strips(const Factor& a, int64_t part) {
  SLUICE_TILE_LOAD(4, a.at + part * kTileWords, kStride);
  if constexpr (R == 2) SLUICE_TILE_LOAD(5, a.at + a.apart + part * kTileWords, kStride);
}
template <int C>
SLUICE_INLINE void load_panels(const Factor& b, int64_t part) {
  SLUICE_TILE_LOAD(6, b.at + part * kTileWords, kStride);
  if constexpr (C == 2) SLUICE_TILE_LOAD(7, b.at + b.apart + part * kTileWords, kStride);
}
template <int R, int C>
SLUICE_INLINE void multiply_parts() {
  SLUICE_TILE_MULTIPLY(0, 4, 6);
  if constexpr (C == 2) SLUICE_TILE_MULTIPLY(1, 4, 7);
  if constexpr (R == 2) SLUICE_TILE_MULTIPLY(2, 5, 6);
  if constexpr (R == 2 && C == 2) SLUICE_TILE_MULTIPLY(3, 5, 7);
}

// In an order in which one side alone changes from product to product.
template <int P, int R, int C>
SLUICE_INLINE void multiply_block(const Factor& a, const Factor& b) {
  if constexpr (P == 1) {
    load_strips<R>(a, 0);
    load_panels<C>(b, 0);
    multiply_parts<R, C>();
  } else {
    load_strips<R>(a, 0);
    load_panels<C>(b, 2);
    multiply_parts<R, C>();
    load_panels<C>(b, 1);
    multiply_parts<R, C>();
    load_strips<R>(a, 1);
    multiply_parts<R, C>();
    load_panels<C>(b, 0);
    multiply_parts<R, C>();
    load_strips<R>(a, 0);
    multiply_parts<R, C>();
    load_strips<R>(a, 2);
    multiply_parts<R, C>();
  }
}

// The last block of a panel that is not whole, with zeros.
template <int P, int C>
SLUICE_INLINE void fill_block(const Factor& b, int64_t num_pairs, uint32_t* to) {
  SLUICE_UNROLL
  for (int i = 0; i < C * P; ++i) {
    const uint32_t* const from = b.at + i / P * b.apart + i % P * num_pairs * kWords;
    for (int64_t pair = 0; pair < kRows; ++pair) {
      const WordVec words =
          pair < num_pairs ? *reinterpret_cast<const WordVec*>(from + pair * kWords) : WordVec{};
      store(to + i * kTileWords + pair * kWords, words);
    }
  }
}

struct Sums {
  float* out;
  int64_t stride;
  int64_t rows, columns;  // as far as there are any
  const float* bias;
  bool adds;
};

// R strips times C panels of this depth.
template <int P, int R, int C>
[[gnu::noinline]] void multiply_tiles(Factor a, Factor b, int64_t depth, const Sums& sums) {
  const int64_t rows = least(sums.rows, R * kRows);
  for (int64_t row = 0; row < rows; ++row) {
    SLUICE_UNROLL
    for (int64_t i = 0; i < C; ++i) __builtin_prefetch(sums.out + row * sums.stride + i * W, /*to write=*/1);
  }
  SLUICE_TILE_ZERO(0);
  if constexpr (C == 2) SLUICE_TILE_ZERO(1);
  if constexpr (R == 2) SLUICE_TILE_ZERO(2);
  if constexpr (R == 2 && C == 2) SLUICE_TILE_ZERO(3);
  for (int64_t k = 0; k + kBlock <= depth; k += kBlock, a.at += P * kTileWords, b.at += P * kTileWords)
    multiply_block<P, R, C>(a, b);
  if (const int64_t rest = depth % kBlock; rest > 0) {
    alignas(64) uint32_t filled[C * P * kTileWords];
    fill_block<P, C>(b, panel_depth(rest) / 2, filled);
    multiply_block<P, R, C>(a, {filled, P * kTileWords});
  }
  const auto put = [](float* to, int64_t stride) [[gnu::always_inline]] {
    const int64_t bytes = stride * static_cast<int64_t>(sizeof(float));
    SLUICE_TILE_STORE(0, to, bytes);
    if constexpr (C == 2) SLUICE_TILE_STORE(1, to + kWords, bytes);
    if constexpr (R == 2) SLUICE_TILE_STORE(2, to + kRows * stride, bytes);
    if constexpr (R == 2 && C == 2) SLUICE_TILE_STORE(3, to + kRows * stride + kWords, bytes);
  };
  if (sums.rows >= R * kRows && sums.columns >= C * kWords && sums.bias == nullptr && !sums.adds)
    return put(sums.out, sums.stride);
  alignas(64) float numbers[R * kRows * C * kWords];
  put(numbers, C * kWords);
  for (int64_t row = 0; row < rows; ++row) {
    SLUICE_UNROLL
    for (int64_t i = 0; i < C; ++i) {
      const int64_t left = sums.columns - i * W;
      if (left <= 0) continue;
      float* const to = sums.out + row * sums.stride + i * W;
      Vec sum = load(numbers + (row * C + i) * W);
      if (sums.bias != nullptr) sum += load(sums.bias + i * W, left);
      if (sums.adds) sum += load(to, left);
      store(to, sum, left);
    }
  }
}

template <int P>
SLUICE_INLINE void multiply_side_by_side(const Factor& a, const Factor& b, int64_t depth, const Sums& sums) {
  if (sums.rows > kRows) {
    (sums.columns > kWords ? multiply_tiles<P, 2, 2> : multiply_tiles<P, 2, 1>)(a, b, depth, sums);
  } else {
    (sums.columns > kWords ? multiply_tiles<P, 1, 2> : multiply_tiles<P, 1, 1>)(a, b, depth, sums);
  }
}

constexpr int64_t kTogether = 2 * kRows;  // rows and columns of a result
static_assert(kWords == kRows && kWords == kPanelColumns);

constexpr int64_t blocks_of(int64_t depth) { return (depth + kBlock - 1) / kBlock; }

// A block of rows stays in the second-level cache while panels pass by.
template <int P>
void multiply(const MatmulCall& call) {
  constexpr int64_t kCache = int64_t{1} << 16;  // words
  const int64_t strip = blocks_of(call.depth) * P * kTileWords,
                panel = panel_depth(call.depth) * kWords * P / 2;
  const int64_t rows_at_once = least(call.rows, kTogether * (kCache <= strip ? 1 : least(kCache / strip, 8)));
  auto* const strips =
      reinterpret_cast<uint32_t*>(thread_scratch((rows_at_once + kRows - 1) / kRows * strip));
  const auto* const panels = static_cast<const uint32_t*>(call.panels);
  for (int64_t first = 0; first < call.rows; first += rows_at_once) {
    const int64_t rows = least(rows_at_once, call.rows - first);
    for (int64_t row = 0; row < rows; row += kRows) {
      const float* const x = call.x + (first + row) * call.x_stride;
      uint32_t* to = strips + row / kRows * strip;
      for (int64_t k = 0; k < call.depth; k += kBlock, to += P * kTileWords)
        lay_out_rows<P>(x + k, call.x_stride, rows - row, call.depth - k, to);
    }
    for (int64_t column = 0; column < call.columns; column += kTogether) {
      for (int64_t row = 0; row < rows; row += kTogether) {
        multiply_side_by_side<P>({strips + row / kRows * strip, strip},
                                 {panels + column / kWords * panel, panel}, call.depth,
                                 {.out = call.out + (first + row) * call.out_stride + column,
                                  .stride = call.out_stride,
                                  .rows = rows - row,
                                  .columns = call.columns - column,
                                  .bias = call.bias == nullptr ? nullptr : call.bias + column,
                                  .adds = call.adds});
      }
    }
  }
}

// Some rows at a time, so that each is read from one end to the other.
template <int P, bool kRounds>
void pack_turned(const float* numbers, int64_t stride, int64_t depth, int64_t columns, uint32_t* panels) {
  const int64_t panel = panel_depth(depth) * kWords * P / 2;
  for (int64_t k = 0; k < depth; k += kBlock) {
    const int64_t rows = least(kBlock, depth - k);
    for (int64_t column = 0; column < columns; column += kWords) {
      lay_out_pairs<P, kRounds>(numbers + k * stride + column, stride, rows, columns - column,
                                panel_depth(rows) / 2, panels + column / kWords * panel + k * kWords * P / 2);
    }
  }
}

template <int P>
void add_outer(const OuterCall& call) {
  constexpr int64_t kChunk = 128;  // rows; two strips of them stay in the first-level cache
  constexpr int64_t kStrip = kChunk / kBlock * P * kTileWords;
  static_assert(kChunk <= kOuterRows && P * kChunk / 2 <= kOuterRows);  // which the scratch is for
  auto* const strips = reinterpret_cast<uint32_t*>(call.scratch);
  uint32_t* const panels = strips + (call.a_columns + kRows - 1) / kRows * kStrip;
  for (int64_t first = 0; first < call.rows; first += kChunk) {
    const int64_t rows = least(kChunk, call.rows - first);
    for (int64_t k = 0; k < rows; k += kBlock) {
      const float *const a = call.a + (first + k) * call.a_stride, *const b =
                                                                       call.b + (first + k) * call.b_stride;
      const int64_t at = k / kBlock * P * kTileWords;
      for (int64_t i = 0; i < call.a_columns; i += kRows)
        lay_out_turned<P>(a + i, call.a_stride, rows - k, call.a_columns - i,
                          strips + i / kRows * kStrip + at);
      for (int64_t j = 0; j < call.b_columns; j += kWords)
        lay_out_pairs<P>(b + j, call.b_stride, rows - k, call.b_columns - j, kRows,
                         panels + j / kWords * kStrip + at);
    }
    for (int64_t i = 0; i < call.a_columns; i += kTogether) {
      for (int64_t j = 0; j < call.b_columns; j += kTogether) {
        multiply_side_by_side<P>({strips + i / kRows * kStrip, kStrip},
                                 {panels + j / kWords * kStrip, kStrip}, blocks_of(rows) * kBlock,
                                 {.out = call.out + i * call.out_stride + j,
                                  .stride = call.out_stride,
                                  .rows = call.a_columns - i,
                                  .columns = call.b_columns - j,
                                  .bias = nullptr,
                                  .adds = true});
      }
    }
  }
}

}  // namespace
#pragma GCC pop_options

bool usable() {
  static const bool is_usable = ask_for_tiles();
  return is_usable;
}

bool takes(const MatmulCall& call) {
  return call.type == WeightType::Parts || (call.type == WeightType::BFloat16 && call.rounds);
}

void matmul(const MatmulCall& call) {
  const TileShapes shapes;
  call.type == WeightType::Parts ? multiply<kNumParts>(call) : multiply<1>(call);
}

void pack_turned(const float* numbers, int64_t stride, int64_t depth, int64_t columns, bool rounds,
                 WeightType type, void* panels) {
  const auto pack = type != WeightType::Parts ? pack_turned<1, false>
                    : rounds                  ? pack_turned<kNumParts, true>
                                              : pack_turned<kNumParts, false>;
  pack(numbers, stride, depth, columns, static_cast<uint32_t*>(panels));
}

void outer(const OuterCall& call) {
  const TileShapes shapes;
  call.rounds ? add_outer<1>(call) : add_outer<kNumParts>(call);
}

}  // namespace sluice::model::cpu::tiles

#else

namespace sluice::model::cpu::tiles {

bool usable() { return false; }
bool takes(const MatmulCall&) { return false; }
void matmul(const MatmulCall&) { fail("tiles: this processor has none"); }
void pack_turned(const float*, int64_t, int64_t, int64_t, bool, WeightType, void*) { matmul({}); }
void outer(const OuterCall&) { matmul({}); }

}  // namespace sluice::model::cpu::tiles

#endif
