// A reward whose scores come from worker processes: it cuts groups up among them, and replaces those that
// fail.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "rewards/plugins/worker.h"
#include "rewards/reward.h"

namespace sluice::rewards::plugins {

// The keys of a recipe that every reward of worker processes understands, beside its own.
std::vector<std::string> process_keys(std::vector<std::string> own);

// Where the relative paths of a plug-in start and its workers run: the recipe's folder.
std::filesystem::path folder_of(const RewardSpec& spec);

struct ProcessRewardOptions {
  WorkerOptions worker;
  int64_t workers = 1;
  int64_t retries = 1;         // of a request whose worker failed, each with a new worker
  bool whole_groups = false;   // a group goes to one worker as one request
  Millis timeout_ms = 30'000;  // for a reply
  Millis start_timeout_ms = 60'000;
};

class ProcessReward final : public RewardFunction {
 public:
  // Starts the workers and waits until they are ready. Throws UsageError with the reason when one cannot
  // score: a plug-in that never worked is a mistake in the recipe.
  ProcessReward(const RewardSpec& spec, const ProcessRewardOptions& options);

  const std::string& name() const override { return name_; }
  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override;
  bool takes_whole_groups() const override { return options_.whole_groups; }
  std::vector<RewardOutcome> score_each(std::span<const RewardRequest> samples) override;
  void interrupt() override { interrupted_ = true; }

 private:
  struct Part {
    size_t begin = 0;
    std::span<const RewardRequest> samples;
    int64_t failures = 0;  // of workers that were asked for it
  };
  struct Slot {
    std::unique_ptr<Worker> worker;
    std::optional<Part> part;  // that it is asked for,
    uint64_t id = 0;           // by this request
    int64_t failures = 0;      // in a row
    Millis failed_at_ms = 0;
  };
  using Outcomes = std::vector<RewardOutcome>;

  Outcomes answered(std::span<const RewardRequest> samples, size_t num_parts);
  void hand_out(std::deque<Part>& waiting, Outcomes& outcomes);
  void take_answer(Slot& slot, std::deque<Part>& waiting, Outcomes& outcomes);
  void put(Slot& slot, const std::string& problem, std::deque<Part>& waiting, Outcomes& outcomes);
  std::vector<std::string> make_ready(std::span<Slot* const> slots);
  std::string start(Slot& slot);
  void give_up(Slot& slot);

  const std::string name_;
  const ProcessRewardOptions options_;
  const SteadyClock clock_;
  std::vector<Slot> slots_;
  uint64_t last_id_ = 0;
  std::atomic<bool> interrupted_ = false;
};

// The one place where the options of a recipe and the command of a kind become workers: what is to stand
// around the command, a sandbox, is put around it here.
std::unique_ptr<RewardFunction> make_process_reward(const RewardSpec& spec, std::vector<std::string> command,
                                                    std::map<std::string, std::string> environment = {});

}  // namespace sluice::rewards::plugins
