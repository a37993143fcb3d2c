// A whole run in one thread: the learner's and the actors' own state machines over a network, disks and
// clocks that a seed decides about.
//
// Of the product: the ledger, the journal and its recovery, the rounds of the rollout server, the actor's
// link and spool, the bytes of frames' payloads. Made up: what is sampled (a hash of the group and the
// weights), what is learned (a hash of the weights and the batch), the processes and sockets around it.
// What is promised stands in sim_oracle.h, what breaks in sim_faults.h.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace sluice::trust {

struct SimOptions {
  uint64_t seed = 0;
  // Safety: things break evenly, and what is left of the run may take its time. Liveness: they break unevenly
  // in its first part, and then it has to end soon.
  bool liveness = false;
};

struct SimReport {
  std::string violation;  // "" when every promise was kept
  // What happened how often; zeros too, so that what never does is seen. Those called longest_... are of one
  // run, the others add up.
  std::map<std::string, int64_t> counts;
};

SimReport simulate(const SimOptions& options);

}  // namespace sluice::trust
