#include <algorithm>
#include <limits>
#include <string>

#include "base/error.h"
#include "buffers/ledger.h"

namespace sluice::buffers {
namespace {

constexpr Millis kAlreadyOver = std::numeric_limits<Millis>::min();

}  // namespace

// Without exact versions the lost slots ahead of one are made up for by later ones, but for those that were
// given up; one that is leased again can be trained at the present version at the earliest.
int64_t Ledger::step_for(uint64_t slot) const {
  const auto ordinal = static_cast<int64_t>(slot);
  if (options_.exact_versions) return ordinal / options_.prompts_per_step;
  const int64_t lost = ended_.dropped - refilled_ - given_up_ + ended_.quarantined - num_poisoned_;
  return std::max(version_, (ordinal - lost) / options_.prompts_per_step);
}

int64_t Ledger::version_for(uint64_t group) const {
  return std::max<int64_t>(0, step_for(slot_of(group)) - options_.staleness);
}

bool Ledger::may_produce(uint64_t slot) const {
  return step_for(slot) < options_.total_steps && version_for(slot) <= version_;
}

std::optional<Ledger::Grant> Ledger::lease(const std::string& actor, Millis now) {
  if (!returned_.empty()) {
    const auto [slot, attempt] = *returned_.begin();
    if (!may_produce(slot)) return std::nullopt;  // then no later one may be either
    returned_.erase(returned_.begin());
    return grant(slot, attempt, actor, now);
  }
  const uint64_t next = entries_.size();
  if (!may_produce(next)) return std::nullopt;
  entries_.emplace_back();
  return grant(next, 0, actor, now);
}

Ledger::Grant Ledger::grant(uint64_t slot, int32_t attempt, const std::string& actor, Millis now) {
  const Millis deadline = now + options_.lease_ms;
  live_[slot] = {actor, attempt, deadline};
  by_actor_[actor].insert(slot);
  by_deadline_.emplace(deadline, slot);
  return {current(slot), attempt, step_for(slot), version_for(slot)};
}

void Ledger::forget_lease(uint64_t slot) {
  returned_.erase(slot);
  const auto found = live_.find(slot);
  if (found == live_.end()) return;
  const auto& live = found->second;
  by_deadline_.erase({live.deadline, slot});
  const auto slots = by_actor_.find(live.actor);
  if (slots != by_actor_.end()) {  // not there once the actor has let go of it
    slots->second.erase(slot);
    if (slots->second.empty()) by_actor_.erase(slots);
  }
  live_.erase(found);
}

void Ledger::publish(int64_t version) {
  require(version >= version_, "Ledger: version ", version, " is published after version ", version_);
  version_ = version;
}

void Ledger::renew(const std::string& actor, Millis now) {
  const auto slots = by_actor_.find(actor);
  if (slots == by_actor_.end()) return;
  for (const uint64_t slot : slots->second) {
    auto& live = live_.at(slot);
    by_deadline_.erase({live.deadline, slot});
    live.deadline = now + options_.lease_ms;
    by_deadline_.emplace(live.deadline, slot);
  }
}

int64_t Ledger::release_actor(const std::string& actor) {
  const auto found = by_actor_.find(actor);
  if (found == by_actor_.end()) return 0;
  const auto slots = std::move(found->second);
  by_actor_.erase(found);
  for (const uint64_t slot : slots) options_.exact_versions ? take_back(slot) : count_attempt(slot);
  return static_cast<int64_t>(slots.size());
}

int64_t Ledger::actor_died(const std::string& actor) {
  const int64_t held = release_actor(actor);
  const auto found = taken_back_.find(actor);
  if (found == taken_back_.end()) return held;
  const auto slots = std::move(found->second);
  taken_back_.erase(found);
  for (const uint64_t slot : slots) count_death(slot, actor);
  return held;
}

// Gives the slot back without counting an attempt.
void Ledger::take_back(uint64_t slot) {
  const auto live = live_.at(slot);
  forget_lease(slot);
  returned_[slot] = live.attempt;
  auto& slots = taken_back_[live.actor];
  std::erase_if(slots, [&](uint64_t other) { return entries_[other].state != State::Leased; });
  slots.insert(slot);
}

void Ledger::count_attempt(uint64_t slot) {
  auto& live = live_.at(slot);
  by_deadline_.erase({live.deadline, slot});
  if (live.attempt + 1 < options_.max_attempts) {
    returned_[slot] = live.attempt + 1;
    live_.erase(slot);
  } else {
    // Nobody renews it any more and it is over: expire() ends it and tells its caller.
    live.deadline = kAlreadyOver;
    by_deadline_.emplace(live.deadline, slot);
  }
}

void Ledger::count_death(uint64_t slot, const std::string& actor) {
  if (entries_[slot].state != State::Leased) return;
  const auto found = live_.find(slot);
  if (found != live_.end()) {
    // Somebody else has it by now, who may still bring it: it is not ended under its hands.
    auto& attempt = found->second.attempt;
    attempt = std::min(attempt + 1, options_.max_attempts - 1);
    return;
  }
  live_[slot] = {actor, returned_.at(slot), kAlreadyOver};
  returned_.erase(slot);
  count_attempt(slot);
}

std::vector<uint64_t> Ledger::expire(Millis now) {
  std::vector<uint64_t> quarantined;
  while (!by_deadline_.empty() && by_deadline_.begin()->first <= now) {
    const uint64_t slot = by_deadline_.begin()->second;
    const auto& live = live_.at(slot);
    if (options_.exact_versions && live.deadline != kAlreadyOver) {
      take_back(slot);
      continue;
    }
    const int32_t attempts = live.attempt + 1;
    forget_lease(slot);
    if (attempts < options_.max_attempts) {
      returned_[slot] = attempts;
    } else {
      const uint64_t group = current(slot);
      end(group, State::Quarantined, "no result after " + std::to_string(attempts) + " leases");
      quarantined.push_back(group);
    }
  }
  return quarantined;
}

int64_t Ledger::held_by(const std::string& actor) const {
  const auto slots = by_actor_.find(actor);
  return slots == by_actor_.end() ? 0 : static_cast<int64_t>(slots->second.size());
}

int64_t Ledger::oldest_needed_version() const {
  uint64_t lowest = entries_.size();
  if (!live_.empty()) lowest = std::min(lowest, live_.begin()->first);
  if (!returned_.empty()) lowest = std::min(lowest, returned_.begin()->first);
  return std::min(version_, version_for(lowest));
}

}  // namespace sluice::buffers
