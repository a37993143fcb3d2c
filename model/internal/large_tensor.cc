#include "model/internal/large_tensor.h"

#include <ATen/ATen.h>
#include <sys/mman.h>

#include <cstdlib>

#include "base/error.h"

namespace sluice::model {
namespace {

constexpr size_t kLargePage = size_t{2} << 20, kSmallAlignment = 64;

}  // namespace

at::Tensor large_tensor(int64_t count, at::ScalarType type) {
  const size_t bytes = static_cast<size_t>(count) * c10::elementSize(type);
  const size_t alignment = bytes < kLargePage ? kSmallAlignment : kLargePage;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, rounded);
  require(memory != nullptr || rounded == 0, "model: no memory for ", bytes,
          " bytes of weights, keys or values");
  // Only advice: a system that has none to give, or refuses, goes on with small pages.
  if (alignment == kLargePage) ::madvise(memory, rounded, MADV_HUGEPAGE);
  return at::from_blob(
      memory, {count}, [](void* p) { std::free(p); }, at::TensorOptions().dtype(type));
}

}  // namespace sluice::model
