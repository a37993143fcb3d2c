// What decides, beside recipe and seed, which bits a run computes.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "recipes/recipe.h"

namespace sluice::recipes::internal {

// Of this process: the program's SHA-256, LibTorch, the processor, the vectors that LibTorch uses and the
// accelerator. Not the threads, whose number changes no bit (use_threads()).
Json environment(const Recipe& recipe);

// A line for each thing that is not as it was, `processor is "AMD EPYC 7B13", it was "Intel Xeon"`.
std::vector<std::string> differences(const Json& was, const Json& is);

}  // namespace sluice::recipes::internal
