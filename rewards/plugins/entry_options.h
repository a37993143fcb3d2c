// What an entry of a recipe says of its servers and worker processes, be it a reward or a tool.
//
// `who` is the speaker of a message about the entry.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/json.h"
#include "rewards/plugins/worker.h"

namespace sluice::rewards::plugins {

inline constexpr int64_t kMaxRetries = 10;
inline constexpr int64_t kMaxTimeoutMs = 3'600'000;
inline constexpr int64_t kMaxWorkers = 256;

// The option `key`, or `fallback` where it is not given; a wrong type is a mistake in the recipe.
template <class T>
T entry_option(const Json& options, const std::string& who, const std::string& key, T fallback) {
  try {
    return json_member_or<T>(options, key, std::move(fallback), who);
  } catch (const DataError& error) {
    throw UsageError(error.what());
  }
}

// The same of a number. Throws UsageError outside the bounds.
int64_t bounded(const Json& options, const std::string& who, const char* key, int64_t fallback, int64_t least,
                int64_t most);

// Where the relative paths of a plug-in start and its workers run: the recipe's folder.
std::filesystem::path entry_folder(const Json& options, const std::string& who);

// The program that `command` names, and its arguments; one without a slash is looked up on PATH.
std::vector<std::string> entry_command(const Json& options, const std::string& who);

// What `folder`, `memory_mb`, `sandbox` and `readable` make of a worker that runs this. Throws UsageError,
// and EnvironmentError for a sandbox that this machine does not give.
WorkerOptions worker_options(const Json& options, const std::string& who, std::vector<std::string> command);

// Before what has failed so often in a row, last then, is tried again: the first time at once; what keeps
// failing keeps neither this machine nor another busy with tries. Ends soon after an interruption.
void pause_before_another_try(int64_t failures, Millis failed_at_ms, const std::atomic<bool>& interrupted);

}  // namespace sluice::rewards::plugins
