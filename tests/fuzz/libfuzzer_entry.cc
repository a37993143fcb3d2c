// What libFuzzer calls, over and over; SLUICE_FUZZ_TARGET is the target's name.
#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/targets.h"

namespace {

void (*find_target())(std::string_view) {
  const auto all = sluice::fuzz::targets();
  return std::ranges::find(all, SLUICE_FUZZ_TARGET, &sluice::fuzz::Target::name)->run;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto run = find_target();
  run({reinterpret_cast<const char*>(data), size});
  return 0;
}
