// The learner's process: the real rollout server, and a training loop that learns a hash.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "buffers/group_id.h"
#include "learner/internal/rollout_server_impl.h"
#include "tests/trust/sim_checkpoints.h"
#include "tests/trust/sim_disk.h"
#include "tests/trust/sim_network.h"
#include "tests/trust/sim_task.h"
#include "transport/shared_weights.h"

namespace sluice::trust {

// The learner's process: the rollout server and a training loop of four events a step.
class SimLearner {
 public:
  SimLearner(const SimTask& task, Network& network, const Clock& clock, SimFile& journal,
             const SimCheckpoint& from, uint64_t epoch)
      : task_(task),
        options_{.journal = "simulated",
                 .ledger = {.prompts_per_step = kPerStep,
                            .total_steps = kSteps,
                            .staleness = kStaleness,
                            .exact_versions = task.exact_versions,
                            .lease_ms = kLeaseMs,
                            .max_attempts = task.max_attempts,
                            .refills = task.refills},
                 .identity = identity("learner", "learner-0", epoch),
                 .min_scored = kSamples,
                 .refill_fallback = task.fallback,
                 .reward_weights = {1.0},
                 .limits = {.max_samples = kSamples, .max_tokens = 16, .vocab_size = 1 << 24},
                 .actor_timeout_ms = kActorTimeoutMs},
        router_(network, epoch),
        epoch_(epoch),
        step_(from.step),
        saved_(from.step),
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
  bool done() const { return step_ == kSteps; }
  int64_t step() const { return step_; }

  // What was learned in a step.
  struct Learned {
    int64_t step = 0;
    uint64_t weights = 0;
    std::vector<uint64_t> groups;
    std::vector<uint64_t> poisoned;  // of these
  };
  // Goes one event on: a batch is fixed, learned from, told of, published.
  std::optional<Learned> train() {
    impl_->rethrow();
    switch (phase_) {
      case Phase::Waits:
        begin();
        break;
      case Phase::Begun:
        return learn();
      case Phase::Learned:
        impl_->end_step(step_, poisoned());
        impl_->oldest_live();
        phase_ = Phase::Told;
        break;
      case Phase::Told:
        if (!is_condemned() || !task_.broken) publish_next();
        phase_ = is_condemned() ? Phase::Condemned : Phase::Waits;
        if (phase_ == Phase::Waits) ++step_;
        break;
      case Phase::Condemned:
        break;
    }
    return std::nullopt;
  }

  // The step that it is at is to be undone by going back to the last checkpoint.
  bool wants_back() const { return phase_ == Phase::Condemned; }
  // The step of that checkpoint.
  int64_t saved() const { return saved_; }
  // As RolloutServer::restore(); the process then ends.
  void go_back() {
    impl_->journal.restore(saved_);
    impl_->journal.sync();
  }

  // One of the state between two steps, if that is where it is.
  void save(SimCheckpoints& checkpoints) {
    if (phase_ != Phase::Waits) return;
    impl_->journal.sync();
    checkpoints.write({step_, versions_});
    saved_ = step_;
    impl_->trim_journal(checkpoints.oldest().step);
  }

  // For a person who wonders what it waits for.
  std::string describe() const {
    std::ostringstream out;
    const auto& ledger = impl_->ledger;
    out << "at step " << step_ << " of " << kSteps << ", " << buffers::describe(ledger.counts()) << "; open:";
    for (int64_t slot = 0; slot < ledger.num_slots(); ++slot) {
      const auto group = ledger.current(static_cast<uint64_t>(slot));
      if (!ledger.is_queued(group) && !ledger.fate(group)) out << ' ' << buffers::group_name(group);
    }
    out << "; " << impl_->announcements.size() << " versions are announced; knows";
    for (const auto& [address, peer] : impl_->peers.peers()) {
      const auto& name = peer.identity.name;
      out << ' ' << name << " (credit " << peer.credit << ", leases " << ledger.held_by(name) << ')';
    }
    return out.str();
  }

 private:
  enum class Phase { Waits, Begun, Learned, Told, Condemned };

  void begin() {
    if (step_ == kSteps) return;
    auto ids = impl_->compose(step_);
    if (!ids) return;
    batch_ = impl_->begin_step(step_, *std::move(ids));
    phase_ = Phase::Begun;
  }

  Learned learn() {
    std::vector<uint64_t> contents;
    for (const auto& group : batch_) contents.push_back(contents_of(group));
    learned_ = task_.learned(versions_.rbegin()->second, contents);
    phase_ = Phase::Learned;
    Learned learned{.step = step_, .weights = learned_, .groups = {}, .poisoned = {}};
    for (const auto& group : batch_) learned.groups.push_back(group.group);
    for (const auto& bad : poisoned()) learned.poisoned.push_back(bad.group.group);
    return learned;
  }

  void publish_next() {
    const int64_t version = step_ + 1;
    versions_[version] = learned_;
    versions_.erase(versions_.begin(), versions_.lower_bound(version - kStaleness));
    publish(version, learned_);
    impl_->oldest_live();
  }

  bool is_condemned() const { return task_.goes_back_after == step_ && impl_->restores == 0; }

  std::vector<learner::PoisonedGroup> poisoned() const {
    std::vector<learner::PoisonedGroup> groups;
    for (const auto& group : batch_) {
      if (task_.poisons(contents_of(group))) groups.push_back({group, "simulated poison"});
    }
    return groups;
  }

  static uint64_t contents_of(const buffers::RolloutGroup& group) {
    return SimTask::contents_of(group.group, group.completions[0].tokens[0], group.completions[1].tokens[0]);
  }

  static buffers::Lease make_lease(const buffers::Ledger::Grant& grant) {
    buffers::Lease lease;
    lease.num_samples = kSamples;
    lease.seed = 1;
    lease.sampling.max_new_tokens = 1;
    lease.row.prompt = SimTask::prompt_of(grant.group);
    lease.row.file = "rows.jsonl";
    lease.row.line = static_cast<int64_t>(buffers::slot_of(grant.group)) + 1;
    return lease;
  }

  void publish(int64_t version, uint64_t weights) {
    impl_->published({.version = version,
                      .pid = 1,
                      .fd = 1,
                      .bytes = weights,
                      .layout = "simulated",
                      .id = std::string(32, 'a')});
  }

  const SimTask& task_;
  const learner::RolloutServerOptions options_;
  SimRouter router_;
  const uint64_t epoch_;
  std::optional<learner::RolloutServer::Impl> impl_;
  int64_t step_;
  int64_t saved_;
  std::map<int64_t, uint64_t> versions_;
  Phase phase_ = Phase::Waits;
  std::vector<buffers::RolloutGroup> batch_;  // of step_, once it has begun
  uint64_t learned_ = 0;                      // the weights after it, once they are known
};

}  // namespace sluice::trust
