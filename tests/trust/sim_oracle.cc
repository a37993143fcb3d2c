#include "tests/trust/sim_oracle.h"

#include <algorithm>
#include <utility>

#include "buffers/group_id.h"

namespace sluice::trust {

using buffers::FateKind;
using buffers::group_id;
using buffers::group_name;
using buffers::Ledger;

namespace {

const char* name(FateKind kind) {
  return kind == FateKind::Trained ? "trained" : kind == FateKind::Dropped ? "dropped" : "quarantined";
}

}  // namespace

// No group in two steps of the surviving history; the same weights whenever a step is computed again.
void Oracle::learned(const SimLearner::Learned& learned) {
  promise(learned.step <= std::ssize(steps_), "step ", learned.step, " is learned after step ",
          std::ssize(steps_) - 1);
  steps_.resize(static_cast<size_t>(learned.step));
  const std::set<uint64_t> groups(learned.groups.begin(), learned.groups.end());
  promise(groups.size() == learned.groups.size(), "a group is twice in step ", learned.step);
  promise(std::ssize(groups) <= kPerStep, "step ", learned.step, " has ", groups.size(), " groups");
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (const uint64_t group : groups) {
      if (!steps_[s].groups.contains(group)) continue;
      fail<Violation>("group ", group_name(group), " is in step ", s, " and in step ", learned.step);
    }
  }
  steps_.push_back({groups, {learned.poisoned.begin(), learned.poisoned.end()}});
  const auto [known, fresh] = weights_.try_emplace(learned.step, learned.weights);
  promise(fresh || known->second == learned.weights, "step ", learned.step,
          " was computed again and gave other weights");
}

void Oracle::goes_back(int64_t step, const Ledger& ledger) {
  going_back_to_ = step;
  given_up_before_ = given_up(ledger);
}

void Oracle::went_back() {
  ++history_;
  steps_.resize(std::min(steps_.size(), static_cast<size_t>(*going_back_to_)));
  weights_.erase(weights_.lower_bound(*going_back_to_), weights_.end());
  going_back_to_.reset();
}

void Oracle::safe(int64_t history, const std::vector<uint64_t>& groups) {
  for (const uint64_t group : groups) safe_[group] = history;
}

void Oracle::actor_ends(int64_t actor) {
  for (const uint64_t group : alive_[actor].leased) ++deaths_[group];
  alive_.erase(actor);
}

void Oracle::leases(int64_t actor, uint64_t incarnation, uint64_t group) {
  const auto found = alive_.find(actor);
  if (found != alive_.end() && found->second.incarnation == incarnation) {
    found->second.leased.insert(group);
  } else {
    ++deaths_[group];  // who gets it has ended already
  }
}

void Oracle::check_law(const Ledger& ledger) {
  const auto law = ledger.counts();
  if (!law.holds()) fail<Violation>("the law is broken: ", describe(law));
}

void Oracle::check_start(const learner::RolloutServer::Impl& learner, const std::set<uint64_t>& spooled) {
  // It may have been written down and the writer not have lived to say so.
  if (going_back_to_ && learner.restores == history_ + 1) went_back();
  going_back_to_.reset();
  promise(learner.restores == history_, "the run went back ", history_,
          " times, a learner that starts knows of ", learner.restores);
  check_law(learner.ledger);
  check_safe(learner.ledger, spooled);
}

// A group that an actor had on its disk is with the learner or still there: never nowhere. One of another
// history is of weights that never were.
void Oracle::check_safe(const Ledger& ledger, const std::set<uint64_t>& spooled) const {
  for (const auto& [group, history] : safe_) {
    if (history != history_) continue;
    const bool arrived = ledger.is_queued(group) || ledger.fate(group).has_value();
    promise(arrived || spooled.contains(group), "group ", group_name(group),
            " was safe on an actor's disk and is neither there nor with the learner");
  }
}

void Oracle::check_end(const Ledger& ledger, const std::set<uint64_t>& spooled) const {
  promise(std::ssize(steps_) == kSteps, "at the end ", steps_.size(), " steps were learned");
  check_safe(ledger, spooled);
  check_fates(ledger);
  if (task_.exact_versions) check_undisturbed(ledger);
}

// issued = trained + dropped + quarantined, counted group by group; and trained is what was learned from.
void Oracle::check_fates(const Ledger& ledger) const {
  std::map<uint64_t, int64_t> learned;
  for (size_t s = 0; s < steps_.size(); ++s) {
    for (const uint64_t group : steps_[s].groups) {
      if (!steps_[s].poisoned.contains(group)) learned[group] = static_cast<int64_t>(s);
    }
  }
  buffers::LedgerCounts counted;
  for (uint64_t slot = 0; slot < static_cast<uint64_t>(ledger.num_slots()); ++slot) {
    for (int64_t refill = 0; refill <= buffers::refill_of(ledger.current(slot)); ++refill) {
      const uint64_t group = group_id(slot, refill);
      const auto fate = ledger.fate(group);
      promise(fate.has_value(), "at the end group ", group_name(group), " is still ",
              ledger.is_queued(group) ? "queued" : "leased");
      const auto found = learned.find(group);
      promise((fate->kind == FateKind::Trained) == (found != learned.end()), "group ", group_name(group),
              " is ", name(fate->kind), " and was ", found == learned.end() ? "not " : "", "learned from");
      if (found != learned.end()) learned.erase(found);
      ++counted.issued;
      ++(fate->kind == FateKind::Trained   ? counted.trained
         : fate->kind == FateKind::Dropped ? counted.dropped
                                           : counted.quarantined);
    }
  }
  promise(learned.empty(), "group ", learned.empty() ? "" : group_name(learned.begin()->first),
          " was learned from and never issued");
  const auto law = ledger.counts();
  for (const auto& [what, member] : buffers::kLedgerCounts) {
    promise(law.*member == counted.*member, "at the end ", describe(law), ", but ", counted.*member, " are ",
            what);
  }
}

// In order, every group from exactly the weights its lease named: whatever happened, the run ended as one
// does that was left alone.
void Oracle::check_undisturbed(const Ledger& ledger) const {
  const auto run = undisturbed(given_up(ledger));
  for (size_t s = 0; s < steps_.size(); ++s) {
    promise(steps_[s].groups == run.groups[s], "step ", s,
            " was over other groups than in an undisturbed run");
    promise(weights_.at(static_cast<int64_t>(s)) == run.weights[s + 1], "step ", s,
            " gave other weights than in an undisturbed run");
  }
  for (const auto& [group, kind] : run.fates) {
    const auto fate = ledger.fate(group);
    promise(fate && fate->kind == kind, "group ", group_name(group), " is ",
            fate ? name(fate->kind) : "unknown", " and not ", name(kind), " as in an undisturbed run");
  }
  promise(std::ssize(run.fates) == ledger.counts().issued, "at the end ", describe(ledger.counts()), ", but ",
          run.fates.size(), " were issued in an undisturbed run");
}

// Groups that nothing is wrong with, quarantined since actors died with them, as often as it takes.
std::set<uint64_t> Oracle::given_up(const Ledger& ledger) const {
  std::set<uint64_t> groups;
  if (!task_.exact_versions) return groups;  // time that runs out is an attempt there too
  for (uint64_t slot = 0; slot < static_cast<uint64_t>(ledger.num_slots()); ++slot) {
    const uint64_t group = ledger.current(slot);
    const auto fate = ledger.fate(group);
    if (!fate || !fate->reason.starts_with("no result after")) continue;
    const auto died = deaths_.find(group);
    const int64_t deaths = died == deaths_.end() ? 0 : died->second;
    promise(deaths >= task_.max_attempts, "group ", group_name(group), " was given up after ", deaths,
            " actors died with it, ", task_.max_attempts, " have to");
    groups.insert(group);
  }
  return groups;
}

// The group of this slot that the step before whose weights `run` ends learns from, if any is left.
std::optional<uint64_t> Oracle::fill(uint64_t slot, const std::set<uint64_t>& given_up,
                                     Undisturbed& run) const {
  const auto step = static_cast<int64_t>(slot) / kPerStep;
  const uint64_t weights = run.weights[static_cast<size_t>(std::max<int64_t>(0, step - kStaleness))];
  const auto spoiled = run.spoiled.find(slot);
  for (int64_t refill = 0;; ++refill) {
    const uint64_t group = group_id(slot, refill);
    const auto sample = task_.sample(group, weights);
    if (spoiled != run.spoiled.end() && refill < buffers::refill_of(spoiled->second)) {
      run.fates[group] = FateKind::Dropped;
    } else if (spoiled != run.spoiled.end() || task_.kills(group) || given_up.contains(group) ||
               !sample.scored) {
      run.fates[group] = FateKind::Quarantined;
      return std::nullopt;
    } else if (task_.refills == 0 || sample.spread ||
               (refill == task_.refills && task_.fallback == learner::RefillFallback::Keep)) {
      return group;
    } else {
      run.fates[group] = FateKind::Dropped;
      if (refill == task_.refills) return std::nullopt;
    }
  }
}

Oracle::Undisturbed Oracle::undisturbed(const std::set<uint64_t>& given_up_in_the_end) const {
  Undisturbed run;
  std::vector<std::set<uint64_t>> poisoned(kSteps);  // of each step
  bool goes_back = task_.goes_back_after.has_value();
  const auto* given_up = goes_back ? &given_up_before_ : &given_up_in_the_end;
  for (int64_t step = 0; step < kSteps; ++step) {
    const uint64_t weights = run.weights[static_cast<size_t>(std::max<int64_t>(0, step - kStaleness))];
    std::vector<uint64_t> contents;
    auto& groups = run.groups.emplace_back();
    for (int64_t slot = step * kPerStep; slot < (step + 1) * kPerStep; ++slot) {
      const auto group = fill(static_cast<uint64_t>(slot), *given_up, run);
      if (!group) continue;
      const auto [first, second] = task_.sample(*group, weights).tokens;
      contents.push_back(SimTask::contents_of(*group, first, second));
      const bool bad = task_.poisons(contents.back());
      if (bad) poisoned[static_cast<size_t>(step)].insert(*group);
      run.fates[*group] = bad ? FateKind::Quarantined : FateKind::Trained;
      groups.insert(*group);
    }
    run.weights.push_back(task_.learned(run.weights.back(), contents));
    if (!goes_back || task_.goes_back_after != step) continue;
    // From the last checkpoint on once more, without what was poisoned on the way here.
    goes_back = false;
    given_up = &given_up_in_the_end;
    const int64_t to = step / kCheckpointEvery * kCheckpointEvery;
    for (int64_t undone = to; undone <= step; ++undone) {
      for (const uint64_t group : poisoned[static_cast<size_t>(undone)]) {
        run.spoiled[buffers::slot_of(group)] = group;
      }
    }
    std::erase_if(run.fates, [to](const auto& fate) {
      return static_cast<int64_t>(buffers::slot_of(fate.first)) >= to * kPerStep;
    });
    run.weights.resize(static_cast<size_t>(to) + 1);
    run.groups.resize(static_cast<size_t>(to));
    step = to - 1;
  }
  return run;
}

}  // namespace sluice::trust
