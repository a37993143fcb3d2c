// What is promised of a run, told from what is seen of it and not from what the product believes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "buffers/ledger.h"
#include "tests/trust/sim_learner.h"
#include "tests/trust/sim_task.h"

namespace sluice::trust {

// What is not kept.
struct Violation : Error {
  explicit Violation(const std::string& message) : Error(message) {}
};
template <class... Parts>
void promise(bool kept, const Parts&... parts) {
  require<Violation>(kept, parts...);
}

class Oracle {
 public:
  explicit Oracle(const SimTask& task) : task_(task) {}

  // What happens; a Violation where it must not.
  void learned(const SimLearner::Learned& learned);
  // Before and after the learner writes that the run goes back to this step.
  void goes_back(int64_t step, const buffers::Ledger& ledger);
  void went_back();
  void safe(int64_t history, const std::vector<uint64_t>& groups);  // on an actor's disk
  void actor_starts(int64_t actor, uint64_t incarnation) { alive_[actor] = {incarnation, {}}; }
  void actor_ends(int64_t actor);
  void leases(int64_t actor, uint64_t incarnation, uint64_t group);

  // What holds whenever the learner is up; when it has started, with what is on the actors' disks; and when
  // all is done.
  static void check_law(const buffers::Ledger& ledger);
  void check_start(const learner::RolloutServer::Impl& learner, const std::set<uint64_t>& spooled);
  void check_end(const buffers::Ledger& ledger, const std::set<uint64_t>& spooled) const;

 private:
  // The surviving history of a run that nothing happens to.
  struct Undisturbed {
    std::vector<uint64_t> weights{kFirstWeights};  // before each step, and in the end
    std::vector<std::set<uint64_t>> groups;        // of each step
    std::map<uint64_t, buffers::FateKind> fates;
    std::map<uint64_t, uint64_t> spoiled;  // by slot: its group was poisoned in a step that was undone
  };
  struct Step {
    std::set<uint64_t> groups, poisoned;
  };
  struct Alive {
    uint64_t incarnation = 0;
    std::set<uint64_t> leased;  // to it
  };

  void check_safe(const buffers::Ledger& ledger, const std::set<uint64_t>& spooled) const;
  void check_fates(const buffers::Ledger& ledger) const;
  void check_undisturbed(const buffers::Ledger& ledger) const;
  std::set<uint64_t> given_up(const buffers::Ledger& ledger) const;
  Undisturbed undisturbed(const std::set<uint64_t>& given_up_in_the_end) const;
  std::optional<uint64_t> fill(uint64_t slot, const std::set<uint64_t>& given_up, Undisturbed& run) const;

  const SimTask& task_;
  int64_t history_ = 0;  // how often the run went back
  std::optional<int64_t> going_back_to_;
  std::set<uint64_t> given_up_before_;   // it went back
  std::vector<Step> steps_;              // as far as they survive
  std::map<int64_t, uint64_t> weights_;  // after each step of this history, whenever it was computed
  std::map<uint64_t, int64_t> safe_;     // groups that were on an actor's disk, with their history
  std::map<int64_t, Alive> alive_;       // by actor
  std::map<uint64_t, int64_t> deaths_;   // of actors that a group was leased to
};

}  // namespace sluice::trust
