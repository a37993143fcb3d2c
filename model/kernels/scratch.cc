#include "model/kernels/scratch.h"

#include <cstddef>
#include <vector>

namespace sluice::model::cpu {

float* thread_scratch(int64_t count) {
  constexpr size_t kLineNumbers = 16;
  struct alignas(64) Line {
    float numbers[kLineNumbers];
  };
  thread_local std::vector<Line> lines;
  const size_t wanted = (static_cast<size_t>(count) + kLineNumbers) / kLineNumbers;
  if (lines.size() < wanted) lines.resize(wanted);
  return lines.front().numbers;
}

}  // namespace sluice::model::cpu
