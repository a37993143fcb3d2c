// An actor's process: the real link and spool, and work that is a hash.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "actors/internal/learner_link.h"
#include "buffers/group_id.h"
#include "tests/trust/sim_disk.h"
#include "tests/trust/sim_network.h"
#include "tests/trust/sim_task.h"
#include "transport/shared_weights.h"

namespace sluice::trust {

// Syncs when the simulation says so.
class SimKeeper final : public actors::GroupKeeper {
 public:
  explicit SimKeeper(SimFile& file) : spool_(std::make_unique<SimLogFile>(file), "simulated") {}

  buffers::Spool::Left take_left() override {
    auto left = spool_.take_left();
    history_ = left.history;
    return left;
  }
  void keep(uint64_t sequence, const std::string& group) override {
    spool_.append(group);
    written_ = sequence;
    groups_.push_back(buffers::decode_group(group).group);
  }
  uint64_t kept() override { return kept_; }
  void forget_all(int64_t history) override {
    spool_.clear(history);
    if (std::exchange(history_, history) != history) groups_.clear();
  }
  bool full() const override { return false; }

  // The groups that are safe from now on.
  std::vector<uint64_t> sync() {
    spool_.sync();
    kept_ = written_;
    return std::exchange(groups_, {});
  }
  int64_t history() const { return history_; }

 private:
  buffers::Spool spool_;
  int64_t history_ = 0;           // of the run
  std::vector<uint64_t> groups_;  // written and not yet safe
  uint64_t written_ = 0, kept_ = 0;
};

// An actor's process.
class SimActor {
 public:
  SimActor(const SimTask& task, Network& network, const Clock& clock, SimFile& spool, int64_t index,
           uint64_t incarnation)
      : task_(task), clock_(clock), incarnation_(incarnation) {
    auto dealer = std::make_unique<SimDealer>(network, index, incarnation);
    dealer_ = dealer.get();
    auto keeper = std::make_unique<SimKeeper>(spool);
    keeper_ = keeper.get();
    link_.emplace(actors::RolloutActorOptions{.address = "simulated",
                                              .identity = identity("actor", "actor-" + std::to_string(index),
                                                                   incarnation),
                                              .heartbeat_ms = 500,
                                              .connect_timeout_ms = 1'000'000,
                                              .silence_ms = 1'000'000},
                  std::move(dealer), std::move(keeper), clock);
  }

  // As RolloutActor::receive().
  void listen() {
    while (const auto frame = link_->next(
               {.credit = std::max<int64_t>(0, 3 - std::ssize(leases_)), .leases = std::ssize(leases_)}, 0)) {
      if (frame->type == FrameType::Welcome) {
        leases_.clear();
        versions_.clear();
      } else if (frame->type == FrameType::Weights) {
        const auto announcement = transport::decode_announcement(frame->payload);
        versions_[announcement.version] = announcement.bytes;
      } else if (frame->type == FrameType::Lease) {
        take_on(buffers::decode_lease(frame->payload));
      }
    }
  }

  // Finishes the first lease whose weights are there.
  void work() {
    for (auto lease = leases_.begin(); lease != leases_.end(); ++lease) {
      const auto version = find_version(*lease);
      if (version == versions_.end()) continue;
      if (task_.kills(lease->group)) {
        killed_ = true;
        return;
      }
      link_->send_group(answer(*lease, version->first, version->second));
      leases_.erase(lease);
      return;
    }
    // One that waits too long for weights gives up, as the real one does.
    stuck_ = !leases_.empty() && clock_.now_ms() - leases_.front().lease_ms > 20'000;
  }
  bool killed() const { return killed_; }  // by a prompt
  bool stuck() const { return stuck_; }    // gave up

  std::vector<uint64_t> sync() { return keeper_->sync(); }
  int64_t history() const { return keeper_->history(); }
  void arrives(Frame frame) { dealer_->inbox.push_back(std::move(frame)); }
  // Its connection ends, and what came over it and was not read is lost, as with the real socket.
  void loses_learner() { dealer_->inbox.clear(); }
  uint64_t incarnation() const { return incarnation_; }

  // For a person who wonders what it waits for.
  std::string describe() const {
    std::ostringstream out;
    out << "has " << leases_.size() << " leases";
    for (const auto& lease : leases_) {
      out << ", group " << buffers::group_name(lease.group);
      if (find_version(lease) == versions_.end()) out << " without version " << lease.version;
    }
    return out.str();
  }

 private:
  std::map<int64_t, uint64_t>::const_iterator find_version(const buffers::Lease& lease) const {
    if (lease.exact_version) return versions_.find(lease.version);
    return versions_.empty() || versions_.rbegin()->first < lease.version ? versions_.end()
                                                                          : std::prev(versions_.end());
  }

  void take_on(buffers::Lease lease) {
    if (link_->has_unacknowledged(lease.group)) return link_->send_again(lease.group);
    lease.lease_ms = clock_.now_ms();  // when it came
    for (auto& other : leases_) {
      if (other.group != lease.group) continue;
      other = std::move(lease);
      return;
    }
    leases_.push_back(std::move(lease));
  }

  buffers::RolloutGroup answer(const buffers::Lease& lease, int64_t version, uint64_t weights) const {
    buffers::RolloutGroup group{
        .group = lease.group, .attempt = lease.attempt, .step = lease.step, .prompt = {1}};
    group.prompt_text = lease.row.prompt;
    const auto sample = task_.sample(lease.group, weights);
    for (const int32_t token : sample.tokens) {
      buffers::Completion completion;
      completion.tokens = {token};
      completion.mask = {1};
      completion.logprobs = {-0.5f};
      completion.kept_mass = {1};
      completion.versions = {version};
      const double score = sample.spread && !group.completions.empty() ? 1.0 : 0.0;
      completion.outcomes = {sample.scored ? rewards::RewardOutcome::scored(score)
                                           : rewards::RewardOutcome::unscored("simulated")};
      group.completions.push_back(std::move(completion));
    }
    return group;
  }

  const SimTask& task_;
  const Clock& clock_;
  const uint64_t incarnation_;
  SimDealer* dealer_ = nullptr;  // the link's
  SimKeeper* keeper_ = nullptr;  // likewise
  std::optional<actors::LearnerLink> link_;
  std::deque<buffers::Lease> leases_;
  std::map<int64_t, uint64_t> versions_;  // to the weights, which stand where their size would
  bool killed_ = false, stuck_ = false;
};

}  // namespace sluice::trust
