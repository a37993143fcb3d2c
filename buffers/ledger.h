// Who owes which group, and how each one ended: the state machine behind "nothing lost, nothing twice".
//
// No I/O and no clock of its own. A group is Leased, then Queued when it has arrived, then Trained, Dropped
// or Quarantined; only a lease that expired goes back, to be leased again under the same id (it is still
// owed, so it counts as leased all the while). A group that taught nothing is dropped and its slot owed
// again, as another group (buffers/group_id.h). A call that throws has changed nothing. Bodies: ledger.cc
// (what becomes of groups), ledger_leases.cc (who owes them).
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "buffers/group_id.h"

namespace sluice::buffers {

enum class FateKind : uint8_t { Trained = 0, Dropped = 1, Quarantined = 2 };

// Why a group was dropped from which nothing can be learned, all its rewards being equal. The one reason that
// makes the ledger refill a slot, also when it comes from a journal.
inline constexpr const char* kNoSpread = "no spread";

// How a group ended.
struct Fate {
  FateKind kind = FateKind::Trained;
  int64_t step = 0;    // Trained: the optimizer step of the stage
  std::string reason;  // Dropped, Quarantined: "stale", "too few scored samples: 1 of 8", ...
};

// The law: issued = trained + queued + leased + dropped + quarantined.
struct LedgerCounts {
  int64_t issued = 0, trained = 0, queued = 0, leased = 0, dropped = 0, quarantined = 0;
  bool holds() const { return issued == trained + queued + leased + dropped + quarantined; }
};
// Each by its name, as files and monitors have it.
inline constexpr std::array<std::pair<const char*, int64_t LedgerCounts::*>, 6> kLedgerCounts{
    {{"issued", &LedgerCounts::issued},
     {"trained", &LedgerCounts::trained},
     {"queued", &LedgerCounts::queued},
     {"leased", &LedgerCounts::leased},
     {"dropped", &LedgerCounts::dropped},
     {"quarantined", &LedgerCounts::quarantined}}};
std::string describe(const LedgerCounts& counts);  // "issued 64 = trained 32 + queued 4 + ..."

// How often the slots of a step were refilled, and how many were given up since no refill was left.
struct RefillCounts {
  int64_t refills = 0, given_up = 0;
};

struct LedgerOptions {
  int64_t prompts_per_step = 0;
  int64_t total_steps = 0;     // no group is issued for a later step
  int64_t staleness = 1;       // a group for step s is sampled from version max(0, s - staleness) or later
  bool exact_versions = true;  // deterministic mode: from exactly that version, and batches go by ordinal
  Millis lease_ms = 60'000;
  int32_t max_attempts = 3;  // then the group is quarantined
  int64_t refills = 0;       // groups of a slot that are produced in place of one without spread
};

class Ledger {
 public:
  explicit Ledger(const LedgerOptions& options);

  struct Grant {
    uint64_t group = 0;
    int32_t attempt = 0;
    int64_t step = 0;
    int64_t version = 0;
  };
  // The lowest slot that may be produced now: one whose lease expired or that is to be refilled, else the
  // next one, when the version it needs has been published. Empty when there is none. Slot s is for step s /
  // prompts_per_step; without exact versions every slot that was lost (dropped, quarantined) moves the later
  // ones up, so that each step gets its full number, but for slots that were given up.
  std::optional<Grant> lease(const std::string& actor, Millis now);

  // The learner now holds `version` (the number of optimizer steps applied). It goes back only by rewind().
  void publish(int64_t version);

  // Progress of an actor: all its leases run anew from now.
  void renew(const std::string& actor, Millis now);
  // Its leases may be given to somebody else: each was an attempt, and one that was the last is quarantined
  // by the next expire(). With exact versions it was none, since a clock that decides who is silent must not
  // decide what is trained. Returns how many there were.
  int64_t release_actor(const std::string& actor);
  // The same for one whose process is known to have ended. With exact versions this alone is an attempt, also
  // of what was taken back from it before and is still owed.
  int64_t actor_died(const std::string& actor);
  // Takes back leases that ran out by now (an attempt, but with exact versions none); those out of attempts
  // are quarantined and returned.
  std::vector<uint64_t> expire(Millis now);

  enum class Admission { Accepted, Duplicate, Unknown };
  // A group has arrived (and is in the journal). The first result of a group wins, whoever sends it.
  Admission admit(uint64_t group, int64_t oldest_version);

  // Ends a group that is leased or queued; any other is an Error, and so is an empty reason. A slot whose
  // group is dropped as kNoSpread is owed again while it has refills left, else it is given up.
  void drop(uint64_t group, const std::string& reason);
  void quarantine(uint64_t group, const std::string& reason);

  // The groups of step `step` when they are all there. Exact versions: the queued ones of slots
  // [step * prompts_per_step, (step + 1) * prompts_per_step), once none of those is still leased or unissued;
  // the list is shorter where some were quarantined or given up. Otherwise: the first prompts_per_step that
  // arrived, fewer by the slots given up meanwhile, after those older than `staleness` allows are dropped as
  // "stale" (they are reported by take_newly_dropped()).
  std::optional<std::vector<uint64_t>> batch(int64_t step);
  std::vector<uint64_t> take_newly_dropped();
  // What batch() would be for the step that comes when the groups `in_training` are trained, as far as it is
  // known before: what arrives or ends until then may change it.
  std::optional<std::vector<uint64_t>> next_batch(int64_t step,
                                                  const std::vector<uint64_t>& in_training) const;

  // Of the slots of this step; without exact versions of those in its batch.
  RefillCounts refills(int64_t step, const std::vector<uint64_t>& batch) const;

  // The optimizer step over these groups, all of them queued, is done. Steps come in rising order; with exact
  // versions a group belongs to its own step. Those that turned out to be `poisoned`, each with the reason,
  // end as quarantined in its place.
  void trained(int64_t step, const std::vector<uint64_t>& groups,
               const std::map<uint64_t, std::string>& poisoned = {});

  // Forgets what was trained at `step` or later: those groups are queued again, where they were in the order
  // of arrival (poisoned ones too, since the same step will find the same), and versions beyond `step` are no
  // longer published. For a resumed run.
  void rewind(int64_t step);
  // As rewind(), for a run that is to go on in another way than it did: poisoned groups stay quarantined, and
  // what was sampled from versions beyond `step` alone, which now never were, is owed again; with exact
  // versions that includes what has ended for what it was, however far the actors had come.
  void restore(int64_t step);
  // What a queued group holds is lost: it is to be sampled again, by anybody.
  void owe_again(uint64_t group);

  LedgerCounts counts() const;
  std::map<std::string, int64_t> reasons() const;  // of drops and quarantines, counted
  int64_t num_slots() const { return static_cast<int64_t>(entries_.size()); }  // that were issued
  uint64_t current(uint64_t slot) const;  // the group it waits for or ended with
  bool was_issued(uint64_t group) const;
  std::optional<Fate> fate(uint64_t group) const;
  bool is_queued(uint64_t group) const;
  std::vector<uint64_t> queued() const;  // in order of arrival
  // It has ended, and no rewind to `step` or a later one makes it queued again.
  bool ended_before(uint64_t group, int64_t step) const;
  int64_t num_live() const { return static_cast<int64_t>(live_.size()); }  // leases that somebody holds
  int64_t held_by(const std::string& actor) const;                         // of those
  int64_t trained_steps() const;  // so many from step 0 on were trained, without a gap
  int64_t duplicates() const { return duplicates_; }
  // The oldest version that a group still to come may name; older ones can be let go.
  int64_t oldest_needed_version() const;
  const LedgerOptions& options() const { return options_; }

  // The policy version a lease of this group names now.
  int64_t version_for(uint64_t group) const;

  // For rebuilding from a journal: the first group of a slot was issued to nobody we know. Slots come in
  // order; one that is known already is left alone.
  void restore_issued(uint64_t group);
  // Likewise: the batch of this step was fixed. When the step comes again it is the same, whatever batch()
  // would make of it now, as long as all of it is there; but not after a restore() to that step or an earlier
  // one.
  void restore_batch(int64_t step, const std::vector<uint64_t>& groups);

 private:
  enum class State : uint8_t { Leased, Queued, Trained, Dropped, Quarantined };
  struct Entry {
    State state = State::Leased;
    bool poisoned = false;       // Quarantined: in the step that it was trained in
    int32_t refill = 0;          // of its group, to which the rest applies; those before had no spread
    uint32_t reason = 0;         // Dropped, Quarantined: index into reasons_
    int64_t step = 0;            // Trained, or Quarantined as poisoned in it
    int64_t oldest_version = 0;  // once it has arrived
    uint64_t arrival = 0;        // likewise: its place in arrived_
  };
  struct Live {
    std::string actor;
    int32_t attempt = 0;
    Millis deadline = 0;
  };

  Entry& open_entry(uint64_t group, const char* what);
  void end(uint64_t group, State state, const std::string& reason);
  void refill(uint64_t slot);
  void owe_anew(uint64_t slot);
  int64_t step_for(uint64_t slot) const;
  bool may_produce(uint64_t slot) const;
  Grant grant(uint64_t slot, int32_t attempt, const std::string& actor, Millis now);
  void forget_lease(uint64_t slot);
  void take_back(uint64_t slot);
  void count_attempt(uint64_t slot);
  void count_death(uint64_t slot, const std::string& actor);
  std::optional<std::vector<uint64_t>> batch_by_ordinal(int64_t step) const;
  std::optional<std::vector<uint64_t>> batch_by_arrival(int64_t step,
                                                        const std::vector<uint64_t>& in_training) const;
  const std::vector<uint64_t>* fixed_batch(int64_t step) const;
  bool is_stale(uint64_t slot, int64_t step) const;
  void drop_stale(int64_t step);

  const LedgerOptions options_;
  // Everything below names slots, of each of which one group at most is open; groups are what callers name.
  std::vector<Entry> entries_;  // every slot that was issued
  // Each Leased slot is in exactly one of live_ and returned_, each Queued one in arrived_.
  std::map<uint64_t, Live> live_;
  std::map<uint64_t, int32_t> returned_;                // to the number of its next attempt
  std::map<std::string, std::set<uint64_t>> by_actor_;  // over live_
  // With exact versions: what an actor had when it was given up, in case that was its death.
  std::map<std::string, std::set<uint64_t>> taken_back_;
  std::set<std::pair<Millis, uint64_t>> by_deadline_;       // over live_
  std::map<uint64_t, uint64_t> arrived_;                    // queued ones in order of arrival
  std::map<int64_t, std::vector<uint64_t>> trained_steps_;  // poisoned groups are among them
  std::map<int64_t, std::vector<uint64_t>> fixed_;          // batches, as a journal has them
  std::vector<std::pair<std::string, int64_t>> reasons_;    // each once, with its count
  std::map<std::string, uint32_t> reason_ids_;
  std::vector<uint64_t> newly_dropped_;
  LedgerCounts ended_;    // trained, dropped and quarantined are kept here; the rest is the size of something
  int64_t refilled_ = 0;  // groups dropped whose slot was owed again,
  int64_t given_up_ = 0;  // and those whose slot was not
  int64_t missing_ = 0;   // groups by which the batches trained were short of prompts_per_step
  uint64_t arrivals_ = 0;
  int64_t version_ = 0;
  int64_t duplicates_ = 0;
  int64_t num_poisoned_ = 0;  // of the quarantined ones: no other takes their place in a step
};

}  // namespace sluice::buffers
