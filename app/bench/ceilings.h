// What this machine can do at most, measured beside the rows of `sluice bench` that are shares of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::app {

struct ReadRate {
  int64_t mib = 0;  // working set of all threads together
  double gb_s = 0;
};

struct Ceilings {
  int threads = 1;
  std::string instructions;                 // that the multiply-adds are of
  double fma_gflop_s = 0;                   // float32, from registers
  std::optional<double> bf16_dot_gflop_s;   // where the processor has such an instruction
  std::optional<double> bf16_tile_gflop_s;  // where it has matrix tiles (AMX)
  std::vector<ReadRate> reads;              // from small to large
  double hand_off_ns = 0;                   // there and back between two threads that spin

  // Of the smallest working set that holds so many bytes, or of the largest.
  double read_gb_s(double bytes) const;
};

// The best of several tries each, since a limit is the best that was ever seen. Reads are of a set that a
// level-2 or level-3 cache holds, of memory, and of those that hold `bytes`. A second or two.
Ceilings measure_ceilings(int threads, const std::vector<double>& bytes);

}  // namespace sluice::app
