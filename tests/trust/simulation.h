// A whole run in one thread: the learner's and the actors' own state machines over a network, disks and a
// clock that a seed decides about.
//
// Of the product: the ledger, the journal and its recovery, the rounds of the rollout server, the actor's
// link and spool, the bytes of frames' payloads. Made up: what is sampled (a hash of the group and the
// weights), what is learned (a hash of the weights and the batch), the processes and sockets around it.
#pragma once

#include <cstdint>
#include <string>

namespace sluice::trust {

struct SimOptions {
  uint64_t seed = 0;
  bool deterministic = true;  // exact versions
  int64_t faulty_events =
      1'500;  // with crashes, power cuts, and frames lost, doubled and out of order; then none
  int64_t most_events = 40'000;  // by then everything has to be trained
};

struct SimReport {
  std::string violation;  // "" when every promise was kept
  int64_t events = 0, crashes = 0, power_cuts = 0, duplicates = 0, frames_lost = 0, resent = 0;
};

SimReport simulate(const SimOptions& options);

}  // namespace sluice::trust
