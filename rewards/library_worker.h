// The process in which a reward's shared library is loaded.
#pragma once

#include <filesystem>

namespace sluice::rewards {

// Loads the library (include/sluice_reward.h), says hello on stdout, and answers requests on stdin until that
// ends. Returns the exit status of the process.
int run_library_worker(const std::filesystem::path& library);

}  // namespace sluice::rewards
