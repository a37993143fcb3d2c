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
                         "memory_mb", "sandbox", "readable", "pure"});
  return own;
}

std::filesystem::path folder_of(const RewardSpec& spec) {
  return std::filesystem::absolute(option<std::string>(spec, "folder", "."));
}

ProcessReward::ProcessReward(const RewardSpec& spec, const ProcessRewardOptions& options)
    : name_(spec.name.empty() ? plugin_name(spec.use, spec.options.at(spec.use)) : spec.name),
      options_(options),
      slots_(static_cast<size_t>(options.workers)) {
  std::vector<Slot*> all;
  for (auto& slot : slots_) all.push_back(&slot);
  for (const auto& problem : make_ready(all)) {
    require<UsageError>(problem.empty(), spec.where.empty() ? "" : spec.where + ": ", "reward \"", name_,
                        "\": ", problem);
  }
}

// Even parts, one for each worker that gets any.
std::vector<RewardOutcome> ProcessReward::score(std::span<const RewardRequest> group) {
  return answered(group, options_.whole_groups ? 1 : std::min(slots_.size(), group.size()));
}

// A request for each, so that what comes of it does not depend on how many had ended by then.
std::vector<RewardOutcome> ProcessReward::score_each(std::span<const RewardRequest> samples) {
  return answered(samples, samples.size());
}

std::vector<RewardOutcome> ProcessReward::answered(std::span<const RewardRequest> samples, size_t num_parts) {
  std::deque<Part> waiting;
  for (size_t i = 0; i < num_parts; ++i) {
    const size_t begin = samples.size() * i / num_parts, end = samples.size() * (i + 1) / num_parts;
    waiting.push_back({begin, samples.subspan(begin, end - begin)});
  }
  Outcomes outcomes(samples.size());
  while (!interrupted_) {
    hand_out(waiting, outcomes);
    std::vector<Worker*> asked;
    for (const auto& slot : slots_) {
      if (slot.part) asked.push_back(slot.worker.get());
    }
    if (asked.empty() && waiting.empty()) break;
    now_doing("scores a group with " + name_, options_.timeout_ms + kSilentMs);
    Worker::wait_for_any(asked, interrupted_);
    for (auto& slot : slots_) {
      if (slot.part && !slot.worker->busy()) take_answer(slot, waiting, outcomes);
    }
  }
  return outcomes;
}

// Each part to the next worker that is free.
void ProcessReward::hand_out(std::deque<Part>& waiting, Outcomes& outcomes) {
  std::vector<Slot*> next;
  for (auto& slot : slots_) {
    if (slot.part || waiting.empty()) continue;
    slot.part = waiting.front();
    waiting.pop_front();
    next.push_back(&slot);
  }
  const auto problems = make_ready(next);
  for (size_t i = 0; i < next.size(); ++i) {
    Slot& slot = *next[i];
    if (!problems[i].empty()) {
      put(slot, problems[i], waiting, outcomes);
      continue;
    }
    slot.id = ++last_id_;
    slot.worker->ask(request_line(slot.id, slot.part->samples), max_reply_bytes(slot.part->samples.size()),
                     options_.timeout_ms, "reply");
  }
}

void ProcessReward::take_answer(Slot& slot, std::deque<Part>& waiting, Outcomes& outcomes) {
  std::string problem = slot.worker->failure();
  if (problem.empty()) {
    try {
      const Part& part = *slot.part;
      auto answer = read_reply(slot.worker->answer(), slot.id, part.samples.size());
      std::ranges::move(answer, outcomes.begin() + static_cast<std::ptrdiff_t>(part.begin));
      slot.failures = 0;
      slot.part.reset();
      return;
    } catch (const DataError& error) {
      problem = std::string("bad output: ") + error.what();
    }
  }
  give_up(slot);
  put(slot, problem, waiting, outcomes);
}

// Its part back, to be asked for once more where it may be.
void ProcessReward::put(Slot& slot, const std::string& problem, std::deque<Part>& waiting,
                        Outcomes& outcomes) {
  Part part = *std::exchange(slot.part, std::nullopt);
  for (size_t i = 0; i < part.samples.size(); ++i)
    outcomes[part.begin + i] = RewardOutcome::unscored(problem);
  if (++part.failures <= options_.retries) waiting.push_front(part);
}

// Starts those that have no worker to ask, all at once. Returns why one cannot be asked.
std::vector<std::string> ProcessReward::make_ready(std::span<Slot* const> slots) {
  std::vector<std::string> problems(slots.size());
  std::vector<Worker*> started;
  for (size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = *slots[i];
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
  for (size_t i = 0; i < slots.size(); ++i) {
    Slot& slot = *slots[i];
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
