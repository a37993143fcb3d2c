// The weights of the policy versions that the learner announced, mapped where somebody may want them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "buffers/rollout_group.h"
#include "transport/shared_weights.h"

namespace sluice::actors {

class PolicyVersions {
 public:
  // Maps it at once: the learner lets go of versions that no lease names. One that is gone already is
  // remembered with the reason, which is thrown when a lease names it.
  void announce(const transport::WeightAnnouncement& announcement);
  void clear() { versions_.clear(); }

  // Whether the learner has let go of the version of this lease, so that it came late and is another's by
  // now: it cannot be mapped, and a newer one is.
  bool is_gone(const buffers::Lease& lease);

  // What this lease is to be sampled from: exactly its version, or the newest that is not older. Null while
  // it is not there. Shared with whoever has it under its network.
  std::shared_ptr<const transport::MappedWeights> find(const buffers::Lease& lease);

  // Of those that are mapped; null without one.
  std::shared_ptr<const transport::MappedWeights> newest() const;

  // Unmaps what is neither the newest nor wanted. Announcements are kept, a lease given again may name an
  // older one.
  void let_go(const std::set<int64_t>& wanted);

  std::string describe() const;  // what was announced, for messages

 private:
  struct Version {
    transport::WeightAnnouncement announcement;
    std::shared_ptr<const transport::MappedWeights> mapped;
    std::string problem;  // why it is not mapped, when mapping failed
  };
  static void map(Version& version);
  std::map<int64_t, Version> versions_;
};

}  // namespace sluice::actors
