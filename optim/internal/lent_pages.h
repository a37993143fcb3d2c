// Memory of a flat buffer that goes back to the system and comes again, full of zeros, when it is touched.
#pragma once

#include <ATen/core/Tensor.h>

namespace sluice::optim {

// `numbers` are contiguous, on the CPU, in memory of this process alone. Before give_back(), once: large
// pages would bring back more than is touched.
void use_small_pages(const at::Tensor& numbers);
// They are zero from here on, and pages on which there is nothing else take no memory. Throws Error when the
// system refuses.
void give_back(const at::Tensor& numbers);
// Bytes of their pages that take memory.
int64_t resident_bytes(const at::Tensor& numbers);

}  // namespace sluice::optim
