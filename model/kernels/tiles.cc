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
//
#include "model/kernels/tile_layout.inc"
//
#include "model/kernels/tile_products.inc"
#undef SLUICE_VECTOR_BYTES
}  // namespace
#pragma GCC pop_options

bool usable() {
  static const bool is_usable = ask_for_tiles();
  return is_usable;
}

bool takes(const MatmulCall& call) {
  return call.type == WeightType::Parts ||
         (call.type == WeightType::BFloat16 && call.rounds_to == NumberType::BFloat16);
}

void matmul(const MatmulCall& call) {
  const TileShapes shapes;
  const auto by_tiles = call.type == WeightType::BFloat16       ? multiply<1, NumberType::BFloat16>
                        : call.rounds_to == NumberType::Float16 ? multiply<kNumParts, NumberType::Float16>
                                                                : multiply<kNumParts, NumberType::Float32>;
  by_tiles(call);
}

void pack_turned(const float* numbers, int64_t stride, int64_t depth, int64_t columns, NumberType rounds_to,
                 WeightType type, void* panels) {
  const auto pack = type != WeightType::Parts           ? pack_turned<1, NumberType::BFloat16>
                    : rounds_to == NumberType::BFloat16 ? pack_turned<kNumParts, NumberType::BFloat16>
                    : rounds_to == NumberType::Float16  ? pack_turned<kNumParts, NumberType::Float16>
                                                        : pack_turned<kNumParts, NumberType::Float32>;
  pack(numbers, stride, depth, columns, static_cast<uint32_t*>(panels));
}

void outer(const OuterCall& call) {
  const TileShapes shapes;
  const auto by_tiles = call.rounds_to == NumberType::BFloat16  ? add_outer<1, NumberType::BFloat16>
                        : call.rounds_to == NumberType::Float16 ? add_outer<kNumParts, NumberType::Float16>
                                                                : add_outer<kNumParts, NumberType::Float32>;
  by_tiles(call);
}

}  // namespace sluice::model::cpu::tiles

#else

namespace sluice::model::cpu::tiles {

bool usable() { return false; }
bool takes(const MatmulCall&) { return false; }
void matmul(const MatmulCall&) { fail("tiles: this processor has none"); }
void pack_turned(const float*, int64_t, int64_t, int64_t, NumberType, WeightType, void*) { matmul({}); }
void outer(const OuterCall&) { matmul({}); }

}  // namespace sluice::model::cpu::tiles

#endif
