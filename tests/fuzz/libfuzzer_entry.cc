// What libFuzzer calls, over and over; SLUICE_FUZZ_TARGET is the target's name.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <ctime>

#include "tests/fuzz/targets.h"

namespace {

constexpr double kMaxSeconds = 10;  // for one input, under sanitizers

// Of this thread: whoever else uses the machine does not make an input slow.
double processor_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void (*find_target())(std::string_view) {
  const auto all = sluice::fuzz::targets();
  return std::ranges::find(all, SLUICE_FUZZ_TARGET, &sluice::fuzz::Target::name)->run;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto run = find_target();
  const double began_s = processor_seconds();
  run({reinterpret_cast<const char*>(data), size});
  sluice::fuzz::must_hold(processor_seconds() - began_s <= kMaxSeconds, "an input that takes too long");
  return 0;
}
