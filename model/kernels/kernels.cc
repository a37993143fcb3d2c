#include "model/kernels/kernels.h"

#include <atomic>
#include <cmath>

#include "model/kernels/scratch.h"
#include "model/kernels/tiles.h"

// The same source for each instruction set. GCC lowers vector types before it clones functions, so target
// clones of one function would all get the narrowest; a pragma around an include does not have that trouble.
#define SLUICE_INLINE [[gnu::always_inline]] inline
#define SLUICE_UNROLL _Pragma("GCC unroll 24")
#define SLUICE_KERNEL_TABLE                                                                                \
  inline constexpr Kernels kTable {                                                                        \
    rms_norm, rms_norm_backward, swiglu, swiglu_backward, gelu_gated, gelu_gated_backward, soft_cap, rope, \
        add_logits, softmax_grad, add_rows, store_pages, attention, attention_backward, matmul, outer,     \
        weigh_logits, draw_logit, logits_from, logit_masses                                                \
  }

namespace sluice::model::cpu {

namespace narrow {
#define SLUICE_VECTOR_BYTES 16
#include "model/kernels/simd.inc"
//
#include "model/kernels/rowwise.inc"
//
#include "model/kernels/attention.inc"
//
#include "model/kernels/attention_backward.inc"
//
#include "model/kernels/matmul.inc"
//
#include "model/kernels/outer.inc"
//
#include "model/kernels/logits.inc"
#undef SLUICE_VECTOR_BYTES
SLUICE_KERNEL_TABLE;
}  // namespace narrow

#ifdef __x86_64__
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
namespace avx2 {
#define SLUICE_VECTOR_BYTES 32
#include "model/kernels/simd.inc"
//
#include "model/kernels/rowwise.inc"
//
#include "model/kernels/attention.inc"
//
#include "model/kernels/attention_backward.inc"
//
#include "model/kernels/matmul.inc"
//
#include "model/kernels/outer.inc"
//
#include "model/kernels/logits.inc"
#undef SLUICE_VECTOR_BYTES
SLUICE_KERNEL_TABLE;
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
namespace avx512 {
#define SLUICE_VECTOR_BYTES 64
#include "model/kernels/simd.inc"
//
#include "model/kernels/rowwise.inc"
//
#include "model/kernels/attention.inc"
//
#include "model/kernels/attention_backward.inc"
//
#include "model/kernels/matmul.inc"
//
#include "model/kernels/outer.inc"
//
#include "model/kernels/logits.inc"
#undef SLUICE_VECTOR_BYTES
SLUICE_KERNEL_TABLE;
}  // namespace avx512
#pragma GCC pop_options
#endif

int64_t attention_scratch(int64_t num_keys) {
  constexpr int64_t kTogether = 4;
  return kTogether * (num_keys + 4 * kPageTokens);
}

int64_t backward_scratch(int64_t num_keys, int64_t head_dim, int64_t value_dim) {
  constexpr int64_t kWidest = 16, kStep = 2 * kWidest;  // W, kKeyStep
  const int64_t stride = (num_keys + kStep - 1) / kStep * kStep;
  constexpr int64_t kRows = 32;  // kRowsOfKeys
  return (3 * head_dim + 2 * value_dim) * stride + 2 * kRows * (stride + kStep);
}

int64_t outer_scratch(int64_t a_columns, int64_t b_columns) {
  constexpr int64_t kMost = 32;  // by which either is rounded up
  return (a_columns + b_columns + 2 * kMost) * kOuterRows;
}

float log_sum_exp(const LogitSums& sums) {
  return static_cast<float>(static_cast<double>(sums.top) + std::log(sums.total));
}

float mean_logit(const LogitSums& sums) {
  return static_cast<float>(static_cast<double>(sums.top) + sums.weighted / sums.total);
}

bool has(InstructionSet set) {
  if (set == InstructionSet::Narrow) return true;
  if (set == InstructionSet::Tiles) return tiles::usable();
#ifdef __x86_64__
  if (set == InstructionSet::Avx2)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

namespace {

#ifdef __x86_64__
constexpr Kernels tiles_table() {
  auto table = avx512::kTable;
  table.matmul = [](const MatmulCall& call) {
    (tiles::takes(call) ? tiles::matmul : avx512::kTable.matmul)(call);
  };
  table.outer = tiles::outer;
  return table;
}
constexpr Kernels kTilesTable = tiles_table();
#endif

const Kernels* table_of(InstructionSet set) {
#ifdef __x86_64__
  if (set == InstructionSet::Tiles) return &kTilesTable;
  if (set == InstructionSet::Avx512) return &avx512::kTable;
  if (set == InstructionSet::Avx2) return &avx2::kTable;
#endif
  (void)set;
  return &narrow::kTable;
}

// No probe of which is faster: sums of a backward are added up by lanes of the width, so two processes that
// found differently would learn different weights.
const Kernels* widest() {
  for (const auto set : {InstructionSet::Tiles, InstructionSet::Avx512, InstructionSet::Avx2}) {
    if (has(set)) return table_of(set);
  }
  return table_of(InstructionSet::Narrow);
}

std::atomic<const Kernels*>& chosen() {
  static std::atomic<const Kernels*> table = widest();
  return table;
}

}  // namespace

const Kernels& kernels() { return *chosen().load(std::memory_order_relaxed); }

void use_kernels(InstructionSet set) { chosen() = table_of(set); }

WeightType turned_type(NumberType x_rounds_to) {
  if (!has(InstructionSet::Tiles) || &kernels() != table_of(InstructionSet::Tiles))
    return WeightType::Float32;
  return x_rounds_to == NumberType::BFloat16 ? WeightType::BFloat16 : WeightType::Parts;
}

}  // namespace sluice::model::cpu
