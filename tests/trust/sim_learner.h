// The learner's process: the real rollout server, and a training loop that learns a hash.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "learner/internal/rollout_server_impl.h"
#include "tests/trust/sim_disk.h"
#include "tests/trust/sim_network.h"
#include "transport/shared_weights.h"

namespace sluice::trust {

inline constexpr int64_t kPerStep = 4, kSteps = 12, kStaleness = 1;
inline constexpr Millis kLeaseMs = 3'000, kActorTimeoutMs = 4'000;

struct SimCheckpoint {
  int64_t step = 0;
  std::map<int64_t, uint64_t> versions;  // those that leases may name, the newest its own
};

// The learner's process: the rollout server and a training loop of four events a step.
class SimLearner {
 public:
  SimLearner(Network& network, const Clock& clock, SimFile& journal, const SimCheckpoint& from,
             bool deterministic, uint64_t epoch)
      : options_{.journal = "simulated",
                 .ledger = {.prompts_per_step = kPerStep,
                            .total_steps = kSteps,
                            .staleness = kStaleness,
                            .exact_versions = deterministic,
                            .lease_ms = kLeaseMs,
                            .max_attempts = 1'000},
                 .identity = identity("learner", "learner-0", epoch),
                 .min_scored = 1,
                 .reward_weights = {1.0},
                 .limits = {.max_samples = 1, .max_tokens = 16, .vocab_size = 1 << 24},
                 .actor_timeout_ms = kActorTimeoutMs},
        router_(network, epoch),
        epoch_(epoch),
        step_(from.step),
        versions_(from.versions) {
    impl_.emplace(
        options_, &make_lease, learner::RolloutEvents(),
        buffers::recover(options_.ledger, std::make_unique<SimLogFile>(journal), "simulated", from.step),
        router_, clock);
    for (const auto& [version, weights] : versions_) publish(version, weights);
    impl_->start();
  }

  void round() { impl_->round(); }
  void arrives(const std::string& peer, Frame frame) { router_.inbox.push_back({peer, std::move(frame)}); }
  uint64_t epoch() const { return epoch_; }
  learner::RolloutServer::Impl& impl() { return *impl_; }
  bool done() const { return step_ == kSteps && !batch_; }
  int64_t step() const { return step_; }

  // Goes one event on: a batch is fixed, learned from, told of, published. Tells what was learned.
  struct Learned {
    int64_t step = 0;
    uint64_t weights = 0;
    std::vector<uint64_t> groups;
  };
  std::optional<Learned> train() {
    impl_->rethrow();
    if (!batch_) {
      if (step_ == kSteps) return std::nullopt;
      auto ids = impl_->compose(step_);
      if (ids) batch_ = impl_->begin_step(step_, *std::move(ids));
      return std::nullopt;
    }
    if (!learned_) {
      learned_ = versions_.rbegin()->second;
      for (const auto& group : *batch_) learned_ = mixed(*learned_, contents_of(group));
      Learned learned{.step = step_, .weights = *learned_, .groups = {}};
      for (const auto& group : *batch_) learned.groups.push_back(group.group);
      return learned;
    }
    if (!told_) {
      impl_->end_step(step_, {});
      told_ = true;
      return std::nullopt;
    }
    ++step_;
    versions_[step_] = *learned_;
    versions_.erase(versions_.begin(), versions_.lower_bound(step_ - kStaleness));
    publish(step_, *learned_);
    impl_->oldest_live();
    batch_.reset();
    learned_.reset();
    told_ = false;
    return std::nullopt;
  }

  // One for now, if now is between two steps.
  std::optional<SimCheckpoint> checkpoint() {
    if (batch_) return std::nullopt;
    impl_->journal.sync();
    return SimCheckpoint{step_, versions_};
  }

 private:
  static buffers::Lease make_lease(const buffers::Ledger::Grant& grant) {
    buffers::Lease lease;
    lease.num_samples = 1;
    lease.seed = 1;
    lease.sampling.max_new_tokens = 2;
    lease.row.prompt = "prompt " + std::to_string(grant.group);
    lease.row.file = "rows.jsonl";
    lease.row.line = static_cast<int64_t>(grant.group) + 1;
    return lease;
  }

  uint64_t contents_of(const buffers::RolloutGroup& group) const {
    uint64_t hash = group.group;
    for (const auto& completion : group.completions) {
      for (const int32_t token : completion.tokens) hash = mixed(hash, static_cast<uint64_t>(token));
    }
    return hash;
  }

  void publish(int64_t version, uint64_t weights) {
    impl_->published({.version = version,
                      .pid = 1,
                      .fd = 1,
                      .bytes = weights,
                      .layout = "simulated",
                      .id = std::string(32, 'a')});
  }

  const learner::RolloutServerOptions options_;
  SimRouter router_;
  const uint64_t epoch_;
  std::optional<learner::RolloutServer::Impl> impl_;
  int64_t step_;
  std::map<int64_t, uint64_t> versions_;
  std::optional<std::vector<buffers::RolloutGroup>> batch_;  // of step_, while it is learned from
  std::optional<uint64_t> learned_;                          // the weights after it
  bool told_ = false;
};

}  // namespace sluice::trust
