#include <c10/core/ScalarType.h>
#include <c10/util/accumulate.h>

#include <set>

#include "model/internal/safetensors_header.h"
#include "tests/fuzz/targets.h"

namespace sluice::fuzz {

void read_safetensors(std::string_view bytes) {
  refuse_or([&] {
    std::set<std::string> names;
    uint64_t total = 0;
    for (const auto& entry : model::parse_safetensors_header(bytes, "fuzzed")) {
      const uint64_t size = entry.end - entry.begin;
      must_hold(entry.begin <= entry.end && entry.end <= bytes.size(), "a tensor outside of the file");
      must_hold(
          size == static_cast<uint64_t>(c10::multiply_integers(entry.shape)) * c10::elementSize(entry.type),
          "a tensor of another size than its bytes");
      must_hold(names.insert(entry.name).second, "a name twice");
      total += size;
    }
    must_hold(total <= bytes.size(), "more tensors than bytes");
  });
}

}  // namespace sluice::fuzz
