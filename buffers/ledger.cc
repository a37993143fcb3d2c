#include "buffers/ledger.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"

namespace sluice::buffers {
namespace {

const char* name(FateKind kind) {
  switch (kind) {
    case FateKind::Trained:
      return "trained";
    case FateKind::Dropped:
      return "dropped";
    case FateKind::Quarantined:
      return "quarantined";
  }
  return "ended";
}

}  // namespace

std::string describe(const LedgerCounts& counts) {
  std::ostringstream out;
  out << "issued " << counts.issued << (counts.holds() ? " = " : " != ") << "trained " << counts.trained
      << " + queued " << counts.queued << " + leased " << counts.leased << " + dropped " << counts.dropped
      << " + quarantined " << counts.quarantined;
  return out.str();
}

Ledger::Ledger(const LedgerOptions& options) : options_(options) {
  require(options.prompts_per_step > 0, "Ledger: prompts_per_step is ", options.prompts_per_step);
  require(
      options.total_steps >= 0 && options.total_steps < (int64_t{1} << kSlotBits) / options.prompts_per_step,
      "Ledger: total_steps is ", options.total_steps);
  require(options.staleness >= 0, "Ledger: staleness is ", options.staleness);
  require(options.lease_ms > 0, "Ledger: lease_ms is ", options.lease_ms);
  require(options.max_attempts > 0, "Ledger: max_attempts is ", options.max_attempts);
  require(options.refills >= 0 && options.refills <= kMaxRefills, "Ledger: refills is ", options.refills);
}

uint64_t Ledger::current(uint64_t slot) const {
  return group_id(slot, slot < entries_.size() ? entries_[slot].refill : 0);
}

bool Ledger::was_issued(uint64_t group) const {
  const uint64_t slot = slot_of(group);
  return slot < entries_.size() && refill_of(group) <= entries_[slot].refill;
}

Ledger::Admission Ledger::admit(uint64_t group, int64_t oldest_version) {
  if (!was_issued(group)) return Admission::Unknown;
  const uint64_t slot = slot_of(group);
  auto& entry = entries_[slot];
  if (group != current(slot) || entry.state != State::Leased) {
    ++duplicates_;
    return Admission::Duplicate;
  }
  forget_lease(slot);
  entry.state = State::Queued;
  entry.oldest_version = oldest_version;
  entry.arrival = arrivals_++;
  arrived_.emplace(entry.arrival, slot);
  return Admission::Accepted;
}

Ledger::Entry& Ledger::open_entry(uint64_t group, const char* what) {
  require(was_issued(group), "Ledger: group ", group_name(group), " is to be ", what,
          ", but was never issued (of ", entries_.size(), " slots)");
  if (const auto before = fate(group)) {
    fail("Ledger: group ", group_name(group), " is to be ", what, ", but was ", name(before->kind),
         before->kind == FateKind::Trained ? " at step " + std::to_string(before->step)
                                           : ": " + before->reason);
  }
  return entries_[slot_of(group)];
}

// Of a group that is open.
void Ledger::end(uint64_t group, State state, const std::string& reason) {
  auto& entry = entries_[slot_of(group)];
  if (entry.state == State::Queued) {
    arrived_.erase(entry.arrival);
  } else {
    forget_lease(slot_of(group));
  }
  const auto [found, fresh] = reason_ids_.try_emplace(reason, static_cast<uint32_t>(reasons_.size()));
  if (fresh) reasons_.emplace_back(reason, 0);
  entry.reason = found->second;
  ++reasons_[entry.reason].second;
  entry.state = state;
  ++(state == State::Dropped ? ended_.dropped : ended_.quarantined);
}

void Ledger::drop(uint64_t group, const std::string& reason) {
  open_entry(group, "dropped");
  require(!reason.empty(), "Ledger: group ", group_name(group), " is to be dropped without a reason");
  end(group, State::Dropped, reason);
  if (reason == kNoSpread) refill(slot_of(group));
}

// The group of this slot was dropped.
void Ledger::refill(uint64_t slot) {
  auto& entry = entries_[slot];
  if (entry.refill == options_.refills) {
    ++given_up_;
    return;
  }
  ++entry.refill;
  ++refilled_;
  entry.state = State::Leased;
  returned_[slot] = 0;
  for (auto& [actor, slots] : taken_back_) slots.erase(slot);  // that was another group
}

void Ledger::quarantine(uint64_t group, const std::string& reason) {
  open_entry(group, "quarantined");
  require(!reason.empty(), "Ledger: group ", group_name(group), " is to be quarantined without a reason");
  end(group, State::Quarantined, reason);
}

std::optional<std::vector<uint64_t>> Ledger::batch(int64_t step) {
  require(step >= 0 && step < options_.total_steps, "Ledger: a batch for step ", step, " of ",
          options_.total_steps);
  require(!trained_steps_.contains(step), "Ledger: step ", step, " was trained already");
  if (!options_.exact_versions && fixed_batch(step) == nullptr) drop_stale(step);
  return next_batch(step, /*in_training=*/{});
}

std::optional<std::vector<uint64_t>> Ledger::next_batch(int64_t step,
                                                        const std::vector<uint64_t>& in_training) const {
  if (const auto* fixed = fixed_batch(step)) return *fixed;
  return options_.exact_versions ? batch_by_ordinal(step) : batch_by_arrival(step, in_training);
}

// Null when there is none, or not all of it is there any more.
const std::vector<uint64_t>* Ledger::fixed_batch(int64_t step) const {
  const auto fixed = fixed_.find(step);
  const bool stands = fixed != fixed_.end() &&
                      std::ranges::all_of(fixed->second, [this](uint64_t group) { return is_queued(group); });
  return stands ? &fixed->second : nullptr;
}

std::optional<std::vector<uint64_t>> Ledger::batch_by_ordinal(int64_t step) const {
  const auto first = static_cast<uint64_t>(step * options_.prompts_per_step);
  const auto last = first + static_cast<uint64_t>(options_.prompts_per_step);
  if (last > entries_.size()) return std::nullopt;
  std::vector<uint64_t> groups;
  for (uint64_t slot = first; slot < last; ++slot) {
    if (entries_[slot].state == State::Leased) return std::nullopt;
    if (entries_[slot].state == State::Queued) groups.push_back(current(slot));
  }
  return groups;
}

bool Ledger::is_stale(uint64_t slot, int64_t step) const {
  return entries_[slot].oldest_version < step - options_.staleness;
}

void Ledger::drop_stale(int64_t step) {
  std::vector<uint64_t> stale;
  for (const auto& [arrival, slot] : arrived_) {
    if (is_stale(slot, step)) stale.push_back(current(slot));
  }
  for (const uint64_t group : stale) end(group, State::Dropped, "stale");
  newly_dropped_.insert(newly_dropped_.end(), stale.begin(), stale.end());
}

std::optional<std::vector<uint64_t>> Ledger::batch_by_arrival(
    int64_t step, const std::vector<uint64_t>& in_training) const {
  const int64_t most = options_.prompts_per_step;
  const int64_t short_now = in_training.empty() ? 0 : most - std::ssize(in_training);
  const int64_t lacking = given_up_ - missing_ - short_now;
  const auto wanted = static_cast<size_t>(most - std::clamp<int64_t>(lacking, 0, most));
  std::vector<uint64_t> groups;
  for (const auto& [arrival, slot] : arrived_) {
    if (groups.size() == wanted) break;
    const uint64_t group = current(slot);
    if (is_stale(slot, step) || std::ranges::find(in_training, group) != in_training.end()) continue;
    groups.push_back(group);
  }
  return groups.size() == wanted ? std::optional(std::move(groups)) : std::nullopt;
}

RefillCounts Ledger::refills(int64_t step, const std::vector<uint64_t>& batch) const {
  const int64_t size = options_.prompts_per_step;
  RefillCounts counts;
  if (!options_.exact_versions) {
    for (const uint64_t group : batch) counts.refills += refill_of(group);
    counts.given_up = size - std::ssize(batch);
    return counts;
  }
  for (int64_t slot = step * size; slot < std::min((step + 1) * size, num_slots()); ++slot) {
    const auto& entry = entries_[static_cast<size_t>(slot)];
    counts.refills += entry.refill;
    if (entry.state == State::Dropped && reasons_[entry.reason].first == kNoSpread) ++counts.given_up;
  }
  return counts;
}

std::vector<uint64_t> Ledger::take_newly_dropped() { return std::exchange(newly_dropped_, {}); }

void Ledger::trained(int64_t step, const std::vector<uint64_t>& groups,
                     const std::map<uint64_t, std::string>& poisoned) {
  require(step >= 0 && (trained_steps_.empty() || step > trained_steps_.rbegin()->first), "Ledger: step ",
          step, " is trained after step ", trained_steps_.empty() ? -1 : trained_steps_.rbegin()->first);
  std::set<uint64_t> seen;
  for (const uint64_t group : groups) {
    const auto& entry = open_entry(group, "trained");
    const auto who = "Ledger: group " + group_name(group);
    require(entry.state == State::Queued, who, " is to be trained, but has not arrived");
    require(seen.insert(group).second, who, " is twice in the batch of step ", step);
    const int64_t own = step_for(slot_of(group));
    require(!options_.exact_versions || own == step, who, " belongs to step ", own,
            ", not to the batch of step ", step);
  }
  for (const auto& [group, reason] : poisoned) {
    require(seen.contains(group) && !reason.empty(), "Ledger: group ", group_name(group), " is poisoned (",
            reason, "), but is not in the batch of step ", step);
  }
  for (const uint64_t group : groups) {
    auto& entry = entries_[slot_of(group)];
    if (const auto found = poisoned.find(group); found != poisoned.end()) {
      end(group, State::Quarantined, found->second);
      entry.poisoned = true;
    } else {
      arrived_.erase(entry.arrival);
      entry.state = State::Trained;
    }
    entry.step = step;
  }
  num_poisoned_ += std::ssize(poisoned);
  ended_.trained += std::ssize(groups) - std::ssize(poisoned);
  missing_ += options_.prompts_per_step - std::ssize(groups);
  trained_steps_.emplace(step, groups);
}

void Ledger::rewind(int64_t step) {
  require(step >= 0, "Ledger: rewind to step ", step);
  const auto first = trained_steps_.lower_bound(step);
  for (auto at = first; at != trained_steps_.end(); ++at) {
    for (const uint64_t group : at->second) {
      auto& entry = entries_[slot_of(group)];
      if (entry.state == State::Quarantined) {
        --num_poisoned_;
        --ended_.quarantined;
        --reasons_[entry.reason].second;
      } else {
        --ended_.trained;
      }
      entry.state = State::Queued;
      entry.poisoned = false;
      arrived_.emplace(entry.arrival, slot_of(group));
    }
    missing_ -= options_.prompts_per_step - std::ssize(at->second);
  }
  trained_steps_.erase(first, trained_steps_.end());
  version_ = std::min(version_, step);
}

void Ledger::restore(int64_t step) {
  for (auto at = trained_steps_.lower_bound(step); at != trained_steps_.end(); ++at) {
    const auto gone = static_cast<int64_t>(std::erase_if(
        at->second, [this](uint64_t group) { return entries_[slot_of(group)].state == State::Quarantined; }));
    num_poisoned_ -= gone;
    missing_ += gone;  // rewind() takes a batch for as short as it is now
  }
  rewind(step);
  fixed_.erase(fixed_.lower_bound(step), fixed_.end());
  for (const uint64_t group : queued()) {
    if (entries_[slot_of(group)].oldest_version > step) owe_again(group);
  }
  if (!options_.exact_versions) return;
  // How many of these had come and ended was chance, and is not to show in what follows.
  const auto first = static_cast<uint64_t>((step + options_.staleness + 1) * options_.prompts_per_step);
  for (uint64_t slot = first; slot < entries_.size(); ++slot) owe_anew(slot);
}

void Ledger::owe_again(uint64_t group) {
  require(is_queued(group), "Ledger: group ", group_name(group), " is to be owed again, but is not queued");
  auto& entry = entries_[slot_of(group)];
  arrived_.erase(entry.arrival);
  entry.state = State::Leased;
  returned_[slot_of(group)] = 0;
}

// From its first group on, unless it ended in a step that is not to go the same way again.
void Ledger::owe_anew(uint64_t slot) {
  auto& entry = entries_[slot];
  if (entry.poisoned) return;
  if (entry.state == State::Queued) arrived_.erase(entry.arrival);
  forget_lease(slot);
  if (entry.state == State::Dropped || entry.state == State::Quarantined) {
    auto& [reason, count] = reasons_[entry.reason];
    --count;
    --(entry.state == State::Dropped ? ended_.dropped : ended_.quarantined);
    if (entry.state == State::Dropped && reason == kNoSpread) --given_up_;
  }
  if (entry.refill > 0) {
    ended_.dropped -= entry.refill;
    refilled_ -= entry.refill;
    reasons_[reason_ids_.at(kNoSpread)].second -= entry.refill;
  }
  entry = {};
  returned_[slot] = 0;
}

LedgerCounts Ledger::counts() const {
  LedgerCounts counts = ended_;
  counts.issued = num_slots() + refilled_;
  counts.queued = static_cast<int64_t>(arrived_.size());
  counts.leased = static_cast<int64_t>(live_.size() + returned_.size());
  return counts;
}

std::map<std::string, int64_t> Ledger::reasons() const {
  std::map<std::string, int64_t> reasons{reasons_.begin(), reasons_.end()};
  std::erase_if(reasons, [](const auto& reason) { return reason.second == 0; });  // all taken back
  return reasons;
}

std::optional<Fate> Ledger::fate(uint64_t group) const {
  if (!was_issued(group)) return std::nullopt;
  const auto& entry = entries_[slot_of(group)];
  if (refill_of(group) < entry.refill) return Fate{FateKind::Dropped, 0, kNoSpread};
  switch (entry.state) {
    case State::Leased:
    case State::Queued:
      return std::nullopt;
    case State::Trained:
      return Fate{FateKind::Trained, entry.step, ""};
    case State::Dropped:
      return Fate{FateKind::Dropped, 0, reasons_[entry.reason].first};
    case State::Quarantined:
      return Fate{FateKind::Quarantined, 0, reasons_[entry.reason].first};
  }
  fail("Ledger: group ", group, " is in no known state");
}

bool Ledger::is_queued(uint64_t group) const {
  const uint64_t slot = slot_of(group);
  return was_issued(group) && group == current(slot) && entries_[slot].state == State::Queued;
}

std::vector<uint64_t> Ledger::queued() const {
  std::vector<uint64_t> groups;
  for (const auto& [arrival, slot] : arrived_) groups.push_back(current(slot));
  return groups;
}

bool Ledger::ended_before(uint64_t group, int64_t step) const {
  if (!fate(group)) return false;
  const bool refilled = group != current(slot_of(group));
  return refilled || entries_[slot_of(group)].step < step;
}

int64_t Ledger::trained_steps() const {
  int64_t steps = 0;
  for (auto at = trained_steps_.begin(); at != trained_steps_.end() && at->first == steps; ++at) ++steps;
  return steps;
}

void Ledger::restore_issued(uint64_t group) {
  if (group < entries_.size()) return;
  require<DataError>(group == entries_.size(), "Ledger: group ", group, " is restored before group ",
                     entries_.size());
  require<DataError>(!options_.exact_versions || step_for(group) < options_.total_steps, "Ledger: group ",
                     group, " is restored for step ", step_for(group), " of ", options_.total_steps);
  entries_.emplace_back();
  returned_[group] = 0;
}

void Ledger::restore_batch(int64_t step, const std::vector<uint64_t>& groups) { fixed_[step] = groups; }

}  // namespace sluice::buffers
