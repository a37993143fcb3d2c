// What this process's kernels compute with.
#pragma once

#include <string>

namespace sluice::model {

// The instructions of the widest kernels that this processor has: "AVX-512 with tiles", "AVX-512", "AVX2" or
// "plain". Where they are the same, so are the bits of what is learned.
std::string instructions();
// Whether they are with tiles: the processor has them and the system lets this process use them.
bool has_matrix_tiles();

}  // namespace sluice::model
