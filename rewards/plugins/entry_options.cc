#include "rewards/plugins/entry_options.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "rewards/plugins/words.h"

namespace sluice::rewards::plugins {
namespace {

constexpr Millis kFirstPauseMs = 100;  // after the second failure in a row, twice as long after each next one
constexpr Millis kLongestPauseMs = 5'000;
constexpr Millis kLookMs = 50;  // between two looks at `interrupted`
constexpr int64_t kMaxMemoryMb = 1 << 20;
constexpr int64_t kNoCpuLimit = 1 << 30;  // seconds

}  // namespace

int64_t bounded(const Json& options, const std::string& who, const char* key, int64_t fallback, int64_t least,
                int64_t most) {
  const auto value = entry_option<int64_t>(options, who, key, fallback);
  require<UsageError>(value >= least && value <= most, who, ": ", key, " is ", value, "; it goes from ",
                      least, " to ", most);
  return value;
}

std::filesystem::path entry_folder(const Json& options, const std::string& who) {
  return std::filesystem::absolute(entry_option<std::string>(options, who, "folder", "."));
}

std::vector<std::string> entry_command(const Json& options, const std::string& who) {
  require<UsageError>(options.contains("command"), who, ": give the program as `command`");
  auto words = command_words(options.at("command"));
  auto& program = words.front();
  if (program.find('/') != std::string::npos) program = (entry_folder(options, who) / program).string();
  return words;
}

// A worker is asked many times, so that only its waiting, its memory and its processes are bounded.
WorkerOptions worker_options(const Json& options, const std::string& who, std::vector<std::string> command) {
  WorkerOptions worker{.command = std::move(command), .folder = entry_folder(options, who)};
  worker.memory_mb = bounded(options, who, "memory_mb", 4096, 0, kMaxMemoryMb);
  worker.sandbox = {.level = sandbox_level(entry_option<std::string>(options, who, "sandbox", "none"), who),
                    .limits = {.cpu_s = kNoCpuLimit, .processes = kMaxProcesses},
                    .readable = {worker.folder}};
  if (worker.memory_mb > 0)
    worker.sandbox.limits.memory_bytes = static_cast<uint64_t>(worker.memory_mb) << 20u;
  for (const auto& path : entry_option<std::vector<std::string>>(options, who, "readable", {})) {
    worker.sandbox.readable.emplace_back(worker.folder / path);
  }
  require_sandbox(worker.sandbox.level, who);
  return worker;
}

void pause_before_another_try(int64_t failures, Millis failed_at_ms, const std::atomic<bool>& interrupted) {
  if (failures < 2) return;
  const Millis pause_ms =
      std::min<Millis>(kFirstPauseMs << std::min<int64_t>(failures - 2, 10), kLongestPauseMs);
  const SteadyClock clock;
  for (Millis left_ms = failed_at_ms + pause_ms - clock.now_ms(); left_ms > 0 && !interrupted;
       left_ms = failed_at_ms + pause_ms - clock.now_ms()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(left_ms, kLookMs)));
  }
}

}  // namespace sluice::rewards::plugins
