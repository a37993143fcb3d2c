#include "model/large_tensor.h"

#include <ATen/ATen.h>
#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace sluice::model {
namespace {

constexpr size_t kLargePage = size_t{2} << 20, kSmallAlignment = 64;

}  // namespace

at::Tensor large_tensor(int64_t count, const at::TensorOptions& options) {
  if (!options.device().is_cpu()) return at::empty({count}, options);
  const size_t bytes = static_cast<size_t>(count) * options.dtype().itemsize();
  const size_t alignment = bytes < kLargePage ? kSmallAlignment : kLargePage;
  const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* const memory = std::aligned_alloc(alignment, rounded);
  if (memory == nullptr && rounded != 0) throw std::bad_alloc();
  // Only advice: a system that has none to give, or refuses, goes on with small pages. Those that earlier use
  // has left here go, with what is on them.
  if (alignment == kLargePage) {
    ::madvise(memory, rounded, MADV_HUGEPAGE);
    ::madvise(memory, rounded, MADV_DONTNEED);
  }
  return at::from_blob(
      memory, {count}, [](void* p) { std::free(p); }, options);
}

}  // namespace sluice::model
