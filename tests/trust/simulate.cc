// Simulates runs by the thousand: build/simulate [--liveness] [SEEDS [FIRST]]. Prints counts as JSON; exit 1
// names each seed that broke a promise, and `simulate [--liveness] 1 SEED` repeats it.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include "tests/trust/simulation.h"

constexpr uint64_t kEnough = 10;  // violations; more say nothing new

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool liveness = std::erase(arguments, "--liveness") > 0;
  uint64_t numbers[] = {1'000, 0};  // seeds, first
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (i == 2 || arguments[i].find_first_not_of("0123456789") != std::string::npos) {
      std::fprintf(stderr, "usage: simulate [--liveness] [SEEDS [FIRST]]\n");
      return 2;
    }
    numbers[i] = std::strtoull(arguments[i].c_str(), nullptr, 10);
  }
  const auto [seeds, first] = numbers;

  std::map<std::string, int64_t> sums;
  uint64_t violations = 0;
  uint64_t seed = first;
  for (; seed < first + seeds && violations < kEnough; ++seed) {
    const auto report = sluice::trust::simulate({.seed = seed, .liveness = liveness});
    for (const auto& [name, count] : report.counts) {
      auto& sum = sums[name];
      sum = name.starts_with("longest_") ? std::max(sum, count) : sum + count;
    }
    if (report.violation.empty()) continue;
    ++violations;
    std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed), report.violation.c_str());
  }

  std::printf("{\"seeds\": %llu, \"first\": %llu, \"violations\": %llu",
              static_cast<unsigned long long>(seed - first), static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(violations));
  for (const auto& [name, sum] : sums) {
    std::printf(", \"%s\": %lld", name.c_str(), static_cast<long long>(sum));
  }
  std::printf("}\n");
  return violations == 0 ? 0 : 1;
}
