// Simulates runs by the thousand: build/simulate [SEEDS [FIRST]]. Prints counts as JSON; exit 1 names each
// seed that broke a promise, and `simulate 1 SEED` repeats it.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/trust/simulation.h"

constexpr uint64_t kEnough = 10;  // violations; more say nothing new

int main(int argc, char** argv) {
  using sluice::trust::simulate;
  const uint64_t seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000;
  const uint64_t first = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
  sluice::trust::SimReport sum;
  uint64_t violations = 0;
  uint64_t seed = first;
  for (; seed < first + seeds && violations < kEnough; ++seed) {
    // Every fourth is of a run that takes groups as they come.
    const auto report = simulate({.seed = seed, .deterministic = seed % 4 != 3});
    sum.events += report.events;
    sum.crashes += report.crashes;
    sum.power_cuts += report.power_cuts;
    sum.duplicates += report.duplicates;
    sum.frames_lost += report.frames_lost;
    sum.resent += report.resent;
    if (report.violation.empty()) continue;
    ++violations;
    std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed), report.violation.c_str());
  }
  std::printf(
      "{\"seeds\": %llu, \"first\": %llu, \"violations\": %llu, \"events\": %lld, \"crashes\": %lld, "
      "\"power_cuts\": "
      "%lld, \"duplicates\": %lld, \"frames_lost\": %lld, \"resent\": %lld}\n",
      static_cast<unsigned long long>(seed - first), static_cast<unsigned long long>(first),
      static_cast<unsigned long long>(violations), static_cast<long long>(sum.events),
      static_cast<long long>(sum.crashes), static_cast<long long>(sum.power_cuts),
      static_cast<long long>(sum.duplicates), static_cast<long long>(sum.frames_lost),
      static_cast<long long>(sum.resent));
  return violations == 0 ? 0 : 1;
}
