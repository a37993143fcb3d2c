#include "rewards/plugins/process_reward.h"

#include <algorithm>
#include <iostream>
#include <thread>
#include <utility>

#include "base/pulse.h"
#include "rewards/plugin.h"
#include "rewards/plugins/bounds.h"
#include "rewards/plugins/protocol.h"

namespace sluice::rewards::plugins {
namespace {

using internal::option;
using internal::speaker;

constexpr Millis kFirstPauseMs = 100;  // before the second start in a row, twice as long before each next one
constexpr Millis kLongestPauseMs = 5'000;
constexpr int64_t kMaxWorkers = 256;
constexpr int64_t kMaxMemoryMb = 1 << 20;
constexpr int64_t kNoCpuLimit = 1 << 30;  // seconds

// A worker answers many groups, so that only its waiting, its memory and its processes are bounded.
SandboxPolicy sandbox_of(const RewardSpec& spec, const std::filesystem::path& folder, int64_t memory_mb) {
  SandboxPolicy policy{.level = sandbox_level(option<std::string>(spec, "sandbox", "none"), speaker(spec)),
                       .limits = {.cpu_s = kNoCpuLimit, .processes = kMaxProcesses},
                       .readable = {folder}};
  if (memory_mb > 0) policy.limits.memory_bytes = static_cast<uint64_t>(memory_mb) << 20u;
  for (const auto& path : option<std::vector<std::string>>(spec, "readable", {})) {
    policy.readable.emplace_back(folder / path);
  }
  require_sandbox(policy.level, speaker(spec));
  return policy;
}

bool takes_whole_groups(const RewardSpec& spec) {
  const auto scope = option<std::string>(spec, "scope", "sample");
  require<UsageError>(scope == "sample" || scope == "group", speaker(spec), ": scope is \"", scope,
                      "\"; there are sample and group");
  return scope == "group";
}

}  // namespace

std::vector<std::string> process_keys(std::vector<std::string> own) {
  own.insert(own.end(), {"folder", "scope", "workers", "timeout_ms", "start_timeout_ms", "retries",
                         "memory_mb", "sandbox", "readable"});
  return own;
}

std::filesystem::path folder_of(const RewardSpec& spec) {
  return std::filesystem::absolute(option<std::string>(spec, "folder", "."));
}

ProcessReward::ProcessReward(const RewardSpec& spec, const ProcessRewardOptions& options)
    : name_(spec.name.empty() ? plugin_name(spec.use, spec.options.at(spec.use)) : spec.name),
      options_(options),
      slots_(static_cast<size_t>(options.workers)) {
  for (const auto& problem : make_ready(slots_.size())) {
    require<UsageError>(problem.empty(), spec.where.empty() ? "" : spec.where + ": ", "reward \"", name_,
                        "\": ", problem);
  }
}

std::vector<RewardOutcome> ProcessReward::score(std::span<const RewardRequest> group) {
  std::vector<RewardOutcome> outcomes(group.size());
  ask_until_answered(cut(group), outcomes);
  return outcomes;
}

// A request for each, so that what comes of it does not depend on how many had ended by then.
std::vector<RewardOutcome> ProcessReward::score_each(std::span<const RewardRequest> samples) {
  std::vector<RewardOutcome> outcomes(samples.size());
  for (size_t begin = 0; begin < samples.size(); begin += slots_.size()) {
    std::vector<Part> parts;
    for (size_t i = begin; i < std::min(samples.size(), begin + slots_.size()); ++i) {
      parts.push_back({i, samples.subspan(i, 1)});
    }
    ask_until_answered(std::move(parts), outcomes);
  }
  return outcomes;
}

// No more parts than workers.
void ProcessReward::ask_until_answered(std::vector<Part> parts, std::vector<RewardOutcome>& outcomes) {
  for (int64_t attempt = 0; attempt <= options_.retries && !parts.empty() && !interrupted_; ++attempt) {
    parts = ask(parts, outcomes);
  }
}

// Even parts, one for each worker that gets any.
std::vector<ProcessReward::Part> ProcessReward::cut(std::span<const RewardRequest> group) const {
  const size_t count = options_.whole_groups ? 1 : std::min(slots_.size(), group.size());
  std::vector<Part> parts;
  for (size_t i = 0; i < count; ++i) {
    const size_t begin = group.size() * i / count;
    const size_t end = group.size() * (i + 1) / count;
    parts.push_back({begin, group.subspan(begin, end - begin)});
  }
  return parts;
}

// Part i is for worker i. Returns the parts whose worker failed, with the reason in their outcomes.
std::vector<ProcessReward::Part> ProcessReward::ask(std::span<const Part> parts,
                                                    std::vector<RewardOutcome>& outcomes) {
  auto problems = make_ready(parts.size());
  std::vector<Worker*> asked;
  std::vector<uint64_t> ids(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!problems[i].empty()) continue;
    ids[i] = ++last_id_;
    slots_[i].worker->ask(request_line(ids[i], parts[i].samples), max_reply_bytes(parts[i].samples.size()),
                          options_.timeout_ms, "reply");
    asked.push_back(slots_[i].worker.get());
  }
  now_doing("scores a group with " + name_, options_.timeout_ms + kSilentMs);
  Worker::wait_for_all(asked, interrupted_);
  std::vector<Part> failed;
  for (size_t i = 0; i < parts.size(); ++i) {
    const size_t count = parts[i].samples.size();
    std::vector<RewardOutcome> part;
    if (problems[i].empty()) problems[i] = slots_[i].worker->failure();
    if (problems[i].empty()) {
      try {
        part = read_reply(slots_[i].worker->answer(), ids[i], count);
        slots_[i].failures = 0;
      } catch (const DataError& error) {
        problems[i] = std::string("bad output: ") + error.what();
      }
    }
    if (!problems[i].empty()) {
      give_up(slots_[i]);
      failed.push_back(parts[i]);
      part.assign(count, RewardOutcome::unscored(problems[i]));
    }
    std::ranges::move(part, outcomes.begin() + static_cast<std::ptrdiff_t>(parts[i].begin));
  }
  return failed;
}

// Starts those of the first slots that have no worker to ask, all at once. Returns why one cannot be asked.
std::vector<std::string> ProcessReward::make_ready(size_t num_slots) {
  std::vector<std::string> problems(num_slots);
  std::vector<Worker*> started;
  for (size_t i = 0; i < num_slots; ++i) {
    Slot& slot = slots_[i];
    if (slot.worker != nullptr) {
      const auto why = slot.worker->why_unusable();
      if (why.empty()) continue;
      std::cerr << "sluice: reward " << name_ << ": its worker is replaced: " << why << '\n';
      slot.worker.reset();
    }
    problems[i] = start(slot);
    if (slot.worker != nullptr) started.push_back(slot.worker.get());
  }
  if (started.empty()) return problems;
  now_doing("waits for the reward " + name_ + " to start", options_.start_timeout_ms + kSilentMs);
  Worker::wait_for_all(started, interrupted_);
  for (size_t i = 0; i < num_slots; ++i) {
    Slot& slot = slots_[i];
    if (std::ranges::find(started, slot.worker.get()) == started.end()) continue;
    std::string problem = slot.worker->failure();
    try {
      if (problem.empty()) read_hello(slot.worker->answer());
    } catch (const DataError& error) {
      problem = error.what();
    }
    if (problem.empty()) continue;
    give_up(slot);
    problems[i] = "not started: " + problem;
  }
  return problems;
}

std::string ProcessReward::start(Slot& slot) {
  wait_before_another_start(slot);
  try {
    slot.worker = std::make_unique<Worker>(options_.worker);
  } catch (const EnvironmentError& error) {
    give_up(slot);
    return std::string("not started: ") + error.what();
  }
  slot.worker->ask("", kMaxHelloBytes, options_.start_timeout_ms, "hello");
  return "";
}

void ProcessReward::give_up(Slot& slot) {
  slot.worker.reset();
  ++slot.failures;
  slot.failed_at_ms = clock_.now_ms();
}

// A first replacement comes at once; what keeps failing does not keep the machine busy with starts.
void ProcessReward::wait_before_another_start(const Slot& slot) const {
  if (slot.failures < 2) return;
  const Millis pause_ms =
      std::min<Millis>(kFirstPauseMs << std::min<int64_t>(slot.failures - 2, 10), kLongestPauseMs);
  const Millis left_ms = slot.failed_at_ms + pause_ms - clock_.now_ms();
  if (left_ms > 0) std::this_thread::sleep_for(std::chrono::milliseconds(left_ms));
}

std::unique_ptr<RewardFunction> make_process_reward(const RewardSpec& spec, std::vector<std::string> command,
                                                    std::map<std::string, std::string> environment) {
  const auto folder = folder_of(spec);
  const int64_t memory_mb = bounded(spec, "memory_mb", 4096, 0, kMaxMemoryMb);
  const ProcessRewardOptions options{
      .worker = {.command = std::move(command),
                 .environment = std::move(environment),
                 .folder = folder,
                 .memory_mb = memory_mb,
                 .sandbox = sandbox_of(spec, folder, memory_mb)},
      .workers = bounded(spec, "workers", 1, 1, kMaxWorkers),
      .retries = bounded(spec, "retries", 1, 0, kMaxRetries),
      .whole_groups = takes_whole_groups(spec),
      .timeout_ms = bounded(spec, "timeout_ms", 30'000, 1, kMaxTimeoutMs),
      .start_timeout_ms = bounded(spec, "start_timeout_ms", 60'000, 1, kMaxTimeoutMs)};
  require<UsageError>(!options.whole_groups || options.workers == 1, speaker(spec),
                      ": workers = ", options.workers,
                      " share a group out among them, and scope = \"group\" keeps it whole; leave one out");
  return std::make_unique<ProcessReward>(spec, options);
}

}  // namespace sluice::rewards::plugins
