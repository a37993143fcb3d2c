#include "rewards/plugins/process_reward.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "base/pulse.h"
#include "rewards/internal/scorers.h"
#include "rewards/plugin.h"
#include "rewards/plugins/entry_options.h"
#include "rewards/plugins/protocol.h"

namespace sluice::rewards::plugins {
namespace {

using internal::option;
using internal::speaker;

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

std::filesystem::path folder_of(const RewardSpec& spec) { return entry_folder(spec.options, speaker(spec)); }

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
  pause_before_another_try(slot.failures, slot.failed_at_ms, interrupted_);
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

std::unique_ptr<RewardFunction> make_process_reward(const RewardSpec& spec, std::vector<std::string> command,
                                                    std::map<std::string, std::string> environment) {
  const auto who = speaker(spec);
  ProcessRewardOptions options{
      .worker = worker_options(spec.options, who, std::move(command)),
      .workers = bounded(spec.options, who, "workers", 1, 1, kMaxWorkers),
      .retries = bounded(spec.options, who, "retries", 1, 0, kMaxRetries),
      .whole_groups = takes_whole_groups(spec),
      .timeout_ms = bounded(spec.options, who, "timeout_ms", 30'000, 1, kMaxTimeoutMs),
      .start_timeout_ms = bounded(spec.options, who, "start_timeout_ms", 60'000, 1, kMaxTimeoutMs)};
  options.worker.environment = std::move(environment);
  require<UsageError>(!options.whole_groups || options.workers == 1, who, ": workers = ", options.workers,
                      " share a group out among them, and scope = \"group\" keeps it whole; leave one out");
  return std::make_unique<ProcessReward>(spec, options);
}

}  // namespace sluice::rewards::plugins
