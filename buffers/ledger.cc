#include "buffers/ledger.h"

#include <algorithm>
#include <limits>
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
  require(options.total_steps >= 0 &&
              options.total_steps <= std::numeric_limits<int64_t>::max() / options.prompts_per_step,
          "Ledger: total_steps is ", options.total_steps);
  require(options.staleness >= 0, "Ledger: staleness is ", options.staleness);
  require(options.lease_ms > 0, "Ledger: lease_ms is ", options.lease_ms);
  require(options.max_attempts > 0, "Ledger: max_attempts is ", options.max_attempts);
}

Ledger::Admission Ledger::admit(uint64_t group, int64_t oldest_version) {
  if (group >= entries_.size()) return Admission::Unknown;
  auto& entry = entries_[group];
  if (entry.state != State::Leased) {
    ++duplicates_;
    return Admission::Duplicate;
  }
  forget_lease(group);
  entry.state = State::Queued;
  entry.oldest_version = oldest_version;
  entry.arrival = arrivals_++;
  arrived_.emplace(entry.arrival, group);
  return Admission::Accepted;
}

Ledger::Entry& Ledger::open_entry(uint64_t group, const char* what) {
  require(group < entries_.size(), "Ledger: group ", group, " is to be ", what, ", but was never issued (",
          entries_.size(), " were)");
  auto& entry = entries_[group];
  if (entry.state != State::Leased && entry.state != State::Queued) {
    const Fate before = *fate(group);
    fail("Ledger: group ", group, " is to be ", what, ", but was ", name(before.kind),
         before.kind == FateKind::Trained ? " at step " + std::to_string(before.step) : ": " + before.reason);
  }
  return entry;
}

void Ledger::end(uint64_t group, Entry& entry, State state, const std::string& reason) {
  if (entry.state == State::Queued) {
    arrived_.erase(entry.arrival);
  } else {
    forget_lease(group);
  }
  const auto [found, fresh] = reason_ids_.try_emplace(reason, static_cast<uint32_t>(reasons_.size()));
  if (fresh) reasons_.emplace_back(reason, 0);
  entry.reason = found->second;
  ++reasons_[entry.reason].second;
  entry.state = state;
  ++(state == State::Dropped ? ended_.dropped : ended_.quarantined);
}

void Ledger::drop(uint64_t group, const std::string& reason) {
  auto& entry = open_entry(group, "dropped");
  require(!reason.empty(), "Ledger: group ", group, " is to be dropped without a reason");
  end(group, entry, State::Dropped, reason);
}

void Ledger::quarantine(uint64_t group, const std::string& reason) {
  auto& entry = open_entry(group, "quarantined");
  require(!reason.empty(), "Ledger: group ", group, " is to be quarantined without a reason");
  end(group, entry, State::Quarantined, reason);
}

std::optional<std::vector<uint64_t>> Ledger::batch(int64_t step) {
  require(step >= 0 && step < options_.total_steps, "Ledger: a batch for step ", step, " of ",
          options_.total_steps);
  require(!trained_steps_.contains(step), "Ledger: step ", step, " was trained already");
  return options_.exact_versions ? batch_by_ordinal(step) : batch_by_arrival(step);
}

std::optional<std::vector<uint64_t>> Ledger::batch_by_ordinal(int64_t step) const {
  const auto first = static_cast<uint64_t>(step * options_.prompts_per_step);
  const auto last = first + static_cast<uint64_t>(options_.prompts_per_step);
  if (last > entries_.size()) return std::nullopt;
  std::vector<uint64_t> groups;
  for (uint64_t group = first; group < last; ++group) {
    if (entries_[group].state == State::Leased) return std::nullopt;
    if (entries_[group].state == State::Queued) groups.push_back(group);
  }
  return groups;
}

std::optional<std::vector<uint64_t>> Ledger::batch_by_arrival(int64_t step) {
  std::vector<uint64_t> stale;
  for (const auto& [arrival, group] : arrived_) {
    if (entries_[group].oldest_version < step - options_.staleness) stale.push_back(group);
  }
  for (const uint64_t group : stale) end(group, entries_[group], State::Dropped, "stale");
  newly_dropped_.insert(newly_dropped_.end(), stale.begin(), stale.end());

  const auto wanted = static_cast<size_t>(options_.prompts_per_step);
  if (arrived_.size() < wanted) return std::nullopt;
  std::vector<uint64_t> groups;
  for (auto at = arrived_.begin(); groups.size() < wanted; ++at) groups.push_back(at->second);
  return groups;
}

std::vector<uint64_t> Ledger::take_newly_dropped() { return std::exchange(newly_dropped_, {}); }

void Ledger::trained(int64_t step, const std::vector<uint64_t>& groups,
                     const std::map<uint64_t, std::string>& poisoned) {
  require(step >= 0 && (trained_steps_.empty() || step > trained_steps_.rbegin()->first), "Ledger: step ",
          step, " is trained after step ", trained_steps_.empty() ? -1 : trained_steps_.rbegin()->first);
  std::set<uint64_t> seen;
  for (const uint64_t group : groups) {
    const auto& entry = open_entry(group, "trained");
    require(entry.state == State::Queued, "Ledger: group ", group, " is to be trained, but has not arrived");
    require(seen.insert(group).second, "Ledger: group ", group, " is twice in the batch of step ", step);
    require(!options_.exact_versions || step_for(group) == step, "Ledger: group ", group, " belongs to step ",
            step_for(group), ", not to the batch of step ", step);
  }
  for (const auto& [group, reason] : poisoned) {
    require(seen.contains(group) && !reason.empty(), "Ledger: group ", group, " is poisoned (", reason,
            "), but is not in the batch of step ", step);
  }
  for (const uint64_t group : groups) {
    auto& entry = entries_[group];
    if (const auto found = poisoned.find(group); found != poisoned.end()) {
      end(group, entry, State::Quarantined, found->second);
      continue;
    }
    arrived_.erase(entry.arrival);
    entry.state = State::Trained;
    entry.step = step;
  }
  num_poisoned_ += static_cast<int64_t>(poisoned.size());
  ended_.trained += static_cast<int64_t>(groups.size() - poisoned.size());
  trained_steps_.emplace(step, groups);
}

void Ledger::rewind(int64_t step) {
  require(step >= 0, "Ledger: rewind to step ", step);
  const auto first = trained_steps_.lower_bound(step);
  for (auto at = first; at != trained_steps_.end(); ++at) {
    for (const uint64_t group : at->second) {
      auto& entry = entries_[group];
      if (entry.state == State::Quarantined) {
        --num_poisoned_;
        --ended_.quarantined;
        --reasons_[entry.reason].second;
      } else {
        --ended_.trained;
      }
      entry.state = State::Queued;
      arrived_.emplace(entry.arrival, group);
    }
  }
  trained_steps_.erase(first, trained_steps_.end());
  version_ = std::min(version_, step);
}

void Ledger::restore(int64_t step) {
  for (auto at = trained_steps_.lower_bound(step); at != trained_steps_.end(); ++at) {
    num_poisoned_ -= static_cast<int64_t>(std::erase_if(
        at->second, [this](uint64_t group) { return entries_[group].state == State::Quarantined; }));
  }
  rewind(step);
  std::erase_if(arrived_, [&](const auto& arrival) {
    auto& entry = entries_[arrival.second];
    if (entry.oldest_version <= step) return false;
    entry.state = State::Leased;
    returned_[arrival.second] = 0;
    return true;
  });
}

LedgerCounts Ledger::counts() const {
  LedgerCounts counts = ended_;
  counts.issued = static_cast<int64_t>(entries_.size());
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
  if (group >= entries_.size()) return std::nullopt;
  const auto& entry = entries_[group];
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
  return group < entries_.size() && entries_[group].state == State::Queued;
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

}  // namespace sluice::buffers
