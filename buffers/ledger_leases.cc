#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "buffers/ledger.h"

namespace sluice::buffers {
namespace {

constexpr Millis kAlreadyOver = std::numeric_limits<Millis>::min();

}  // namespace

// Without exact versions the lost groups ahead of an ordinal are made up for by later ones; one that is
// leased again can be trained at the present version at the earliest.
int64_t Ledger::step_for(uint64_t group) const {
  const auto ordinal = static_cast<int64_t>(group);
  if (options_.exact_versions) return ordinal / options_.prompts_per_step;
  const int64_t lost = ended_.dropped + ended_.quarantined - num_poisoned_;
  return std::max(version_, (ordinal - lost) / options_.prompts_per_step);
}

int64_t Ledger::version_for(uint64_t group) const {
  return std::max<int64_t>(0, step_for(group) - options_.staleness);
}

bool Ledger::may_produce(uint64_t group) const {
  return step_for(group) < options_.total_steps && version_for(group) <= version_;
}

std::optional<Ledger::Grant> Ledger::lease(const std::string& actor, Millis now) {
  if (!returned_.empty()) {
    const auto [group, attempt] = *returned_.begin();
    if (!may_produce(group)) return std::nullopt;  // then no later one may be either
    returned_.erase(returned_.begin());
    return grant(group, attempt, actor, now);
  }
  const uint64_t next = entries_.size();
  if (!may_produce(next)) return std::nullopt;
  entries_.emplace_back();
  return grant(next, 0, actor, now);
}

Ledger::Grant Ledger::grant(uint64_t group, int32_t attempt, const std::string& actor, Millis now) {
  const Millis deadline = now + options_.lease_ms;
  live_[group] = {actor, attempt, deadline};
  by_actor_[actor].insert(group);
  by_deadline_.emplace(deadline, group);
  return {group, attempt, step_for(group), version_for(group)};
}

void Ledger::forget_lease(uint64_t group) {
  returned_.erase(group);
  const auto found = live_.find(group);
  if (found == live_.end()) return;
  const auto& live = found->second;
  by_deadline_.erase({live.deadline, group});
  const auto groups = by_actor_.find(live.actor);
  if (groups != by_actor_.end()) {  // not there once the actor has let go of it
    groups->second.erase(group);
    if (groups->second.empty()) by_actor_.erase(groups);
  }
  live_.erase(found);
}

void Ledger::publish(int64_t version) {
  require(version >= version_, "Ledger: version ", version, " is published after version ", version_);
  version_ = version;
}

void Ledger::renew(const std::string& actor, Millis now) {
  const auto groups = by_actor_.find(actor);
  if (groups == by_actor_.end()) return;
  for (const uint64_t group : groups->second) {
    auto& live = live_.at(group);
    by_deadline_.erase({live.deadline, group});
    live.deadline = now + options_.lease_ms;
    by_deadline_.emplace(live.deadline, group);
  }
}

int64_t Ledger::release_actor(const std::string& actor) {
  const auto found = by_actor_.find(actor);
  if (found == by_actor_.end()) return 0;
  const auto groups = std::move(found->second);
  by_actor_.erase(found);
  for (const uint64_t group : groups) options_.exact_versions ? take_back(group) : count_attempt(group);
  return static_cast<int64_t>(groups.size());
}

int64_t Ledger::actor_died(const std::string& actor) {
  const int64_t held = release_actor(actor);
  const auto found = taken_back_.find(actor);
  if (found == taken_back_.end()) return held;
  const auto groups = std::move(found->second);
  taken_back_.erase(found);
  for (const uint64_t group : groups) count_death(group, actor);
  return held;
}

// Gives the group back without counting an attempt.
void Ledger::take_back(uint64_t group) {
  const auto live = live_.at(group);
  forget_lease(group);
  returned_[group] = live.attempt;
  auto& groups = taken_back_[live.actor];
  std::erase_if(groups, [&](uint64_t other) { return entries_[other].state != State::Leased; });
  groups.insert(group);
}

void Ledger::count_attempt(uint64_t group) {
  auto& live = live_.at(group);
  by_deadline_.erase({live.deadline, group});
  if (live.attempt + 1 < options_.max_attempts) {
    returned_[group] = live.attempt + 1;
    live_.erase(group);
  } else {
    // Nobody renews it any more and it is over: expire() ends it and tells its caller.
    live.deadline = kAlreadyOver;
    by_deadline_.emplace(live.deadline, group);
  }
}

void Ledger::count_death(uint64_t group, const std::string& actor) {
  if (entries_[group].state != State::Leased) return;
  const auto found = live_.find(group);
  if (found != live_.end()) {
    // Somebody else has it by now, who may still bring it: it is not ended under its hands.
    auto& attempt = found->second.attempt;
    attempt = std::min(attempt + 1, options_.max_attempts - 1);
    return;
  }
  live_[group] = {actor, returned_.at(group), kAlreadyOver};
  returned_.erase(group);
  count_attempt(group);
}

std::vector<uint64_t> Ledger::expire(Millis now) {
  std::vector<uint64_t> quarantined;
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) {
    const uint64_t group = by_deadline_.begin()->second;
    const auto& live = live_.at(group);
    if (options_.exact_versions && live.deadline != kAlreadyOver) {
      take_back(group);
      continue;
    }
    const int32_t attempts = live.attempt + 1;
    forget_lease(group);
    if (attempts < options_.max_attempts) {
      returned_[group] = attempts;
    } else {
      end(group, entries_[group], State::Quarantined,
          "no result after " + std::to_string(attempts) + " leases");
      quarantined.push_back(group);
    }
  }
  return quarantined;
}

int64_t Ledger::held_by(const std::string& actor) const {
  const auto groups = by_actor_.find(actor);
  return groups == by_actor_.end() ? 0 : static_cast<int64_t>(groups->second.size());
}

int64_t Ledger::oldest_needed_version() const {
  uint64_t lowest = entries_.size();
  if (!live_.empty()) lowest = std::min(lowest, live_.begin()->first);
  if (!returned_.empty()) lowest = std::min(lowest, returned_.begin()->first);
  return std::min(version_, version_for(lowest));
}

}  // namespace sluice::buffers
