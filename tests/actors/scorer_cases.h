// Scorers that a test watches and holds up.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "rewards/reward.h"

namespace sluice::actors {

// What scorers were asked, "7: 0 text 1 text" for two completions of group 7; from any thread.
class Scribe {
 public:
  void note(std::string asked) {
    const std::lock_guard lock(mutex_);
    asked_.push_back(std::move(asked));
    changed_.notify_all();
  }
  std::vector<std::string> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  void await(size_t count) {
    std::unique_lock lock(mutex_);
    require(changed_.wait_for(lock, std::chrono::seconds(20), [&] { return asked_.size() >= count; }),
            "nobody was asked ", count, " times");
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> asked_;  // guarded by mutex_
};

// The number of characters.
class ScribeOf final : public rewards::RewardFunction {
 public:
  ScribeOf(Scribe& scribe, std::string name, bool whole)
      : scribe_(scribe), name_(std::move(name)), whole_(whole) {}
  const std::string& name() const override { return name_; }
  bool takes_whole_groups() const override { return whole_; }
  std::vector<rewards::RewardOutcome> score(std::span<const rewards::RewardRequest> group) override {
    std::string asked = std::to_string(group.front().group) + ":";
    std::vector<rewards::RewardOutcome> outcomes;
    for (const auto& request : group) {
      asked += " " + std::to_string(request.sample) + " " + request.completion;
      outcomes.push_back(rewards::RewardOutcome::scored(static_cast<double>(request.completion.size())));
    }
    scribe_.note(asked);
    return outcomes;
  }

 private:
  Scribe& scribe_;
  const std::string name_;
  const bool whole_;
};

// Closed at first.
class Gate {
 public:
  void open() { change(open_); }
  void interrupt() { change(interrupted_); }
  bool interrupted() const {
    const std::lock_guard lock(mutex_);
    return interrupted_;
  }
  void pass() {
    change(somebody_);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return open_ || interrupted_; });
  }
  void await_somebody() {
    std::unique_lock lock(mutex_);
    require(changed_.wait_for(lock, std::chrono::seconds(20), [this] { return somebody_; }), "nobody came");
  }

 private:
  void change(bool& what) {
    const std::lock_guard lock(mutex_);
    what = true;
    changed_.notify_all();
  }
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false, interrupted_ = false, somebody_ = false;  // guarded by mutex_
};

// 1, once the gate is open.
class Gated final : public rewards::RewardFunction {
 public:
  explicit Gated(Gate& gate) : gate_(gate) {}
  const std::string& name() const override { return name_; }
  std::vector<rewards::RewardOutcome> score(std::span<const rewards::RewardRequest> group) override {
    gate_.pass();
    return std::vector(group.size(), rewards::RewardOutcome::scored(1));
  }
  void interrupt() override { gate_.interrupt(); }

 private:
  Gate& gate_;
  const std::string name_ = "gated";
};

}  // namespace sluice::actors
