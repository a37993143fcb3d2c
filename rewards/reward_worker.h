// The processes of this program that score for another: each says hello on stdout and answers requests
// (docs/rewards_protocol.md) on stdin until that ends. They return the exit status of the process.
#pragma once

#include <filesystem>
#include <string>

namespace sluice::rewards {

// Loads a shared library (include/sluice_reward.h).
int run_library_worker(const std::filesystem::path& library);

// Loads a reward model; `options` is the JSON of a recipe's entry, without its `use`.
int run_model_worker(const std::string& options);

}  // namespace sluice::rewards
