#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "buffers/journal.h"

namespace sluice::buffers {
namespace {

struct Batch {
  int64_t step = 0;
  std::vector<uint64_t> groups;
  std::map<uint64_t, std::string> poisoned = {};
};

// Lets the records of a journal happen to a ledger again.
class LedgerReplay {
 public:
  explicit LedgerReplay(const LedgerOptions& options) : ledger_(options) {}

  Journal::Replay hooks() {
    return {
        .issued = [this](uint64_t group) { ledger_.restore_issued(group); },
        .arrived = [this](uint64_t group, int64_t oldest_version) { arrive(group, oldest_version); },
        .batch =
            [this](int64_t step, const std::vector<uint64_t>& groups) {
              composed_ = Batch{step, groups};
              ledger_.restore_batch(step, groups);
            },
        .fate = [this](uint64_t group, const Fate& fate) { end(group, fate); },
        .trained = [this](int64_t step) { train(step); },
        .rewind = [this](int64_t step) { rewind(step); },
        .restore = [this](int64_t step) { restore(step); },
        .owed = [this](uint64_t group) { ledger_.owe_again(group); },
    };
  }

  // The batch that was composed last, as far as its groups have not ended, when weights of `from_step` hold
  // it and its record of having been trained is missing.
  std::optional<Batch> unrecorded(int64_t from_step) const {
    if (!composed_ || composed_->step >= from_step) return std::nullopt;
    Batch batch{.step = composed_->step, .groups = {}, .poisoned = composed_->poisoned};
    for (const uint64_t group : composed_->groups) {
      if (ledger_.is_queued(group)) batch.groups.push_back(group);
    }
    return batch;
  }

  Ledger& ledger() { return ledger_; }
  // Of the groups that arrived, in order, whether the ledger took them.
  const std::vector<bool>& accepted() const { return accepted_; }
  std::optional<int64_t> restored_to() const { return restored_to_; }
  int64_t restores() const { return restores_; }

 private:
  // What was refused when it came is refused again; who writes first and asks then leaves such records.
  void arrive(uint64_t group, int64_t oldest_version) {
    const auto admission = ledger_.admit(group, oldest_version);
    accepted_.push_back(admission == Ledger::Admission::Accepted);
  }

  void end(uint64_t group, const Fate& fate) {
    if (composed_ && std::ranges::count(composed_->groups, group) > 0) {
      composed_->poisoned[group] = fate.reason;
    } else if (fate.kind == FateKind::Dropped) {
      ledger_.drop(group, fate.reason);
    } else {
      ledger_.quarantine(group, fate.reason);
    }
  }

  void train(int64_t step) {
    require<DataError>(composed_ && composed_->step == step, "step ", step,
                       " is trained, but the last batch is ",
                       composed_ ? "of step " + std::to_string(composed_->step) : "none");
    ledger_.trained(step, composed_->groups, composed_->poisoned);
    composed_.reset();
  }

  void rewind(int64_t step) {
    ledger_.rewind(step);
    if (composed_ && composed_->step >= step) composed_.reset();
  }

  void restore(int64_t step) {
    ledger_.restore(step);
    composed_.reset();
    restored_to_ = step;
    ++restores_;
  }

  Ledger ledger_;
  std::vector<bool> accepted_;     // of each group that arrived
  std::optional<Batch> composed_;  // the last one, until it is trained
  std::optional<int64_t> restored_to_;
  int64_t restores_ = 0;
};

// The weights of `from_step` come out of every step before it.
void require_same_history(const Ledger& ledger, const std::string& name, int64_t from_step) {
  const int64_t known = ledger.trained_steps();
  require<DataError>(known >= from_step, "journal ", name, ": the checkpoint is at step ", from_step,
                     ", but the journal knows of training up to step ", known,
                     " only: it is not the one that was written with this checkpoint, or its end is missing; "
                     "put the right file back, or begin a new run");
}

}  // namespace

Ledger replay_ledger(const LedgerOptions& options, const std::filesystem::path& file, int64_t* torn_bytes) {
  LedgerReplay replay(options);
  const int64_t torn = Journal::read(file, replay.hooks());
  if (torn_bytes != nullptr) *torn_bytes = torn;
  return std::move(replay.ledger());
}

Recovered recover(const LedgerOptions& options, std::unique_ptr<LogFile> file, const std::string& name,
                  int64_t from_step) {
  LedgerReplay replay(options);
  Journal journal(std::move(file), name, replay.hooks());
  const auto batch = replay.unrecorded(from_step);
  if (batch) replay.ledger().trained(batch->step, batch->groups, batch->poisoned);
  require_same_history(replay.ledger(), name, from_step);
  if (batch) {
    journal.batch(batch->step, batch->groups);
    for (const auto& [group, reason] : batch->poisoned) {
      journal.fate(group, {FateKind::Quarantined, 0, reason});
    }
    journal.trained(batch->step);
  }
  replay.ledger().rewind(from_step);
  journal.rewind(from_step);

  // A second reading, so that what has ended long ago is never held in memory.
  Recovered recovered{
      std::move(journal), std::move(replay.ledger()), {}, replay.restored_to(), replay.restores()};
  std::map<uint64_t, RolloutGroup> queued;  // by slot; of what was sampled again after a restore, the last
  size_t arrivals = 0;
  recovered.journal.read({.arrived = [&](uint64_t, int64_t) { ++arrivals; },
                          .group =
                              [&](RolloutGroup group) {
                                if (!replay.accepted()[arrivals - 1]) return;
                                if (!recovered.ledger.is_queued(group.group)) return;
                                const uint64_t slot = slot_of(group.group);
                                queued.insert_or_assign(slot, std::move(group));
                              }});
  for (const uint64_t group : recovered.ledger.queued()) {
    if (queued.contains(slot_of(group))) continue;
    recovered.ledger.owe_again(group);
    recovered.journal.owed(group);
  }
  recovered.journal.sync();
  for (auto& [slot, group] : queued) recovered.queued.push_back(std::move(group));
  return recovered;
}

Recovered recover(const LedgerOptions& options, const std::filesystem::path& file, int64_t from_step) {
  return recover(options, open_log_file(file, LogAccess::Write), file.string(), from_step);
}

}  // namespace sluice::buffers
