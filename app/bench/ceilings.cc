#include "app/bench/ceilings.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <set>
#include <thread>

#include "base/stopwatch.h"
#include "model/instructions.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace sluice::app {
namespace {

constexpr int kTries = 8;
constexpr int64_t kRounds = 4'000'000;
constexpr size_t kFloatsAtOnce = 128;  // of a sum: a multiple of what a round takes
constexpr int64_t kWorkingSets[] = {1, 4, 8, 16, 24, 32, 48, 64, 96, 128, 256};  // MiB

struct Instructions {
  const char* name;
  double flop_of_round;
  void (*multiply_add)(int64_t rounds);
  float (*sum)(const float* x, size_t count);
};

constexpr size_t kChains = 12;

namespace portable {
#define SLUICE_VECTOR_BYTES 16
#include "app/bench/ceilings.inc"
#undef SLUICE_VECTOR_BYTES
}  // namespace portable

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#define SLUICE_VECTOR_BYTES 32
#include "app/bench/ceilings.inc"
#undef SLUICE_VECTOR_BYTES
}  // namespace avx2
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f")
namespace avx512 {
#define SLUICE_VECTOR_BYTES 64
#include "app/bench/ceilings.inc"
#undef SLUICE_VECTOR_BYTES

// Products of pairs, added to float32.
__attribute__((target("avx512f,avx512bf16"))) void dot_bf16(int64_t rounds) {
  const auto ones = (__m512bh)_mm512_set1_epi32(0x3f803f80);
  __m512 a[kChains] = {};
  for (auto& x : a) asm volatile("" : "+m"(x));  // else all of them are seen to be one
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (auto& x : a) x = _mm512_dpbf16_ps(x, ones, ones);
  }
  for (auto& x : a) asm volatile("" : : "m"(x));
}
}  // namespace avx512
#pragma GCC pop_options

// Products of matrix tiles of bfloat16, added to tiles of float32 (AMX).
namespace tiles {
constexpr double kFlopOfRound = 4 * 2.0 * 16 * 16 * 32;

void multiply(int64_t rounds) {
  struct alignas(64) {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes_of_row[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } shapes;
  uint32_t ones[16 * 16];
  std::fill(std::begin(ones), std::end(ones), 0x3f803f80u);
  asm volatile(
      "ldtilecfg %0\n tilezero %%tmm0\n tilezero %%tmm1\n tilezero %%tmm2\n tilezero %%tmm3\n"
      "tileloadd (%1,%2,1), %%tmm4\n tileloadd (%1,%2,1), %%tmm5\n"
      "tileloadd (%1,%2,1), %%tmm6\n tileloadd (%1,%2,1), %%tmm7"
      :
      : "m"(shapes), "r"(ones), "r"(int64_t{64})
      : "memory");
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile(
        "tdpbf16ps %%tmm6, %%tmm4, %%tmm0\n tdpbf16ps %%tmm7, %%tmm4, %%tmm1\n"
        "tdpbf16ps %%tmm6, %%tmm5, %%tmm2\n tdpbf16ps %%tmm7, %%tmm5, %%tmm3"
        :
        :);
  }
  asm volatile("tilerelease" : :);
}
}  // namespace tiles
#endif

Instructions best_instructions() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    return {"AVX-512", avx512::kFlopOfRound, avx512::multiply_add, avx512::sum};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {"AVX2", avx2::kFlopOfRound, avx2::multiply_add, avx2::sum};
  }
#endif
  return {"portable", portable::kFlopOfRound, portable::multiply_add, portable::sum};
}

// Seconds for all threads to run `body(thread)` from a common start.
double best_seconds(int threads, const std::function<void(int)>& body) {
  double best = 1e30;
  for (int i = 0; i < kTries; ++i) {
    std::atomic<int> ready{0};
    std::atomic<bool> go{false};
    std::vector<std::jthread> team;
    for (int t = 0; t < threads; ++t) {
      team.emplace_back([&, t] {
        ++ready;
        while (!go) std::this_thread::yield();
        body(t);
      });
    }
    while (ready < threads) std::this_thread::yield();
    const Stopwatch watch;
    go = true;
    team.clear();
    best = std::min(best, watch.seconds());
  }
  return best;
}

double gflop_s(int threads, double flop_of_round, void (*run)(int64_t)) {
  return threads * flop_of_round * kRounds / best_seconds(threads, [run](int) { run(kRounds); }) * 1e-9;
}

// One working set shared out over the threads, read again and again, as weights are in decoding.
ReadRate read_rate(int64_t mib, int threads, float (*sum)(const float*, size_t)) {
  const auto count = static_cast<size_t>(mib << 20) / sizeof(float);
  const std::unique_ptr<float, decltype(&std::free)> data(
      static_cast<float*>(std::aligned_alloc(4096, count * sizeof(float))), std::free);
  std::fill_n(data.get(), count, 1.0f);
  const size_t share = count / static_cast<size_t>(threads) / kFloatsAtOnce * kFloatsAtOnce;
  const auto passes = std::max<int64_t>(2, 256 / mib);
  const double seconds = best_seconds(threads, [&](int t) {
    for (int64_t p = 0; p < passes; ++p) {
      const float total = sum(data.get() + static_cast<size_t>(t) * share, share);
      asm volatile("" : : "m"(total) : "memory");  // the next pass must read again
    }
  });
  const double bytes = static_cast<double>(share * sizeof(float)) * threads * static_cast<double>(passes);
  return {mib, bytes / seconds * 1e-9};
}

// Bounded, for a machine with a single processor.
template <class Done>
void spin_until(Done done) {
  for (int64_t spins = 1; !done(); ++spins) {
    if (spins % 4096 == 0) std::this_thread::yield();
  }
}

double hand_off_ns() {
  double best = 1e30;
  for (int i = 0; i < kTries; ++i) {
    std::atomic<int64_t> turn{0};  // even: of this thread; -1: over
    const std::jthread other([&turn] {
      for (int64_t mine = 1;; mine += 2) {
        int64_t seen = 0;
        spin_until([&] { return (seen = turn.load(std::memory_order_acquire)) == mine || seen < 0; });
        if (seen < 0) return;
        turn.store(mine + 1, std::memory_order_release);
      }
    });
    const Stopwatch watch;
    int64_t now = 0;
    for (; now < 200 || watch.seconds() < 0.01; now += 2) {
      turn.store(now + 1, std::memory_order_release);
      spin_until([&] { return turn.load(std::memory_order_acquire) == now + 2; });
    }
    best = std::min(best, watch.seconds() / static_cast<double>(now / 2) * 1e9);
    turn = -1;
  }
  return best;
}

int64_t working_set_for(double bytes) {
  for (const int64_t mib : kWorkingSets) {
    if (static_cast<double>(mib << 20) >= bytes) return mib;
  }
  return *std::rbegin(kWorkingSets);
}

}  // namespace

double Ceilings::read_gb_s(double bytes) const {
  for (const auto& read : reads) {
    if (static_cast<double>(read.mib << 20) >= bytes) return read.gb_s;
  }
  return reads.back().gb_s;
}

Ceilings measure_ceilings(int threads, const std::vector<double>& bytes) {
  const auto best = best_instructions();
  Ceilings ceilings{.threads = threads, .instructions = best.name};
  const auto measured = [threads](double before, double flop_of_round, void (*run)(int64_t)) {
    return std::max(before, gflop_s(threads, flop_of_round, run));
  };
  const auto measure_arithmetic = [&] {
    ceilings.fma_gflop_s = measured(ceilings.fma_gflop_s, best.flop_of_round, best.multiply_add);
#if defined(__x86_64__)
    auto &dot = ceilings.bf16_dot_gflop_s, &tile = ceilings.bf16_tile_gflop_s;
    if (__builtin_cpu_supports("avx512bf16"))
      dot = measured(dot.value_or(0), 2 * avx512::kFlopOfRound, avx512::dot_bf16);
    if (model::has_matrix_tiles()) tile = measured(tile.value_or(0), tiles::kFlopOfRound, tiles::multiply);
#endif
  };
  measure_arithmetic();
  std::set<int64_t> sets{4, 256};
  for (const double size : bytes) sets.insert(working_set_for(size));
  for (const int64_t mib : sets) ceilings.reads.push_back(read_rate(mib, threads, best.sum));
  ceilings.hand_off_ns = hand_off_ns();
  measure_arithmetic();  // once more: what a processor can is not what it did in a tenth of a second
  return ceilings;
}

}  // namespace sluice::app
