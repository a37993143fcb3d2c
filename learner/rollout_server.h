// The learner's end of the rollouts: leases out, groups in, journalled before they are acknowledged.
//
// One thread owns the socket, the ledger, the journal and the buffer; the training loop talks to it through
// the calls below and never waits on a peer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "buffers/ledger.h"
#include "buffers/rollout_group.h"
#include "learner/refills.h"
#include "transport/handshake.h"
#include "transport/shared_weights.h"
#include "transport/sockets.h"

namespace sluice::learner {

struct RolloutServerOptions {
  std::string address;  // "ipc://..." or "tcp://127.0.0.1:port"
  std::filesystem::path journal;
  buffers::LedgerOptions ledger;
  transport::Identity identity;  // what an actor must match
  int64_t min_scored = 2;        // a group with fewer scored completions (or not all, when it has fewer) is
                                 // quarantined with that reason
  RefillFallback refill_fallback = RefillFallback::Keep;  // when the refills of `ledger` are used up
  std::vector<double> reward_weights;                     // to tell what is scored
  buffers::GroupLimits limits;
  Millis actor_timeout_ms = 5'000;   // without a heartbeat its leases go back
  std::filesystem::path quarantine;  // folder for the groups that are quarantined, one JSON file each
};

// What the monitor shows.
struct RolloutStatus {
  buffers::LedgerCounts law;
  std::map<std::string, int64_t> reasons;
  int64_t queue_depth = 0;  // groups waiting for their batch
  int64_t credits = 0;      // leases the actors could take on now
  double oldest_age_s = 0;  // of the queued groups
  int64_t duplicates = 0;
  int64_t rejected_frames = 0;  // that failed a check
  int64_t journal_bytes = 0;
  int64_t torn_bytes = 0;                   // of the journal, cut off when it was opened
  std::optional<int64_t> restored_to = {};  // the step that restore() went back to before this server
  struct Actor {
    std::string name;
    int64_t pid = 0;
    uint64_t incarnation = 0;
    uint64_t tokens = 0;
    int64_t leases = 0;
  };
  std::vector<Actor> actors;
};

// What happens, in order, as told to an observer on the server's thread; it must return at once and not call
// the server.
struct RolloutEvents {
  std::function<void(const std::vector<const buffers::RolloutGroup*>& groups)> queued;  // in batching order
  std::function<void(const std::vector<uint64_t>& groups)> ended;  // dropped or quarantined
  std::function<void(const std::string& text)> notice;             // who joined, went silent, was refused
  // Actors that gave a sign of life since the last call, a second before.
  std::function<void(const std::vector<RolloutStatus::Actor>& actors)> heard = {};
};

// A group whose numbers nothing can be learned from.
struct PoisonedGroup {
  const buffers::RolloutGroup& group;
  std::string reason;
};

class RolloutServer {
 public:
  // Turns a grant of the ledger into a lease: row, number of samples, seed, sampling parameters; the server
  // fills in what the grant says. A pure function: it is asked again when the group arrives. Called on the
  // server's thread.
  using MakeLease = std::function<buffers::Lease(const buffers::Ledger::Grant& grant)>;

  // Recovers from the journal (rewound to `from_step`), binds, and starts. Throws EnvironmentError when the
  // address is taken, DataError when the journal is damaged.
  RolloutServer(const RolloutServerOptions& options, MakeLease make_lease, RolloutEvents events,
                int64_t from_step);
  // Tells the actors to stop, waits up to a second for them to go, and stops.
  ~RolloutServer();

  // Puts a version where the actors find it and lets leases name it. Versions nobody needs are let go. They
  // come in rising order; a resumed run publishes those first that leases still name. For one thread, as are
  // the two below.
  void publish(int64_t version, const transport::WeightSource& weights);

  // Waits for the batch of a step; journalled and removed from the buffer when it returns. Empty when the
  // time is over. What went wrong in the thread is thrown here.
  std::optional<std::vector<buffers::RolloutGroup>> take_batch(int64_t step, Millis timeout_ms);
  // Copies of the groups that the next step takes, as far as it is known while the step before is trained:
  // waits until all of them are there. Empty when the stop comes first. Changes nothing, and take_batch() may
  // still choose others. Safe from any thread.
  std::optional<std::vector<buffers::RolloutGroup>> next_batch(int64_t step, std::stop_token stop);
  // Of the last batch, until it is trained.
  buffers::RefillCounts refills() const;
  // The optimizer step over the last batch, which was of this step, is done. Those of its groups that turned
  // out to be poisoned are quarantined instead, with a file that says why.
  void trained(int64_t step, const std::vector<PoisonedGroup>& poisoned = {});
  // What the journal was told is on the disk when it returns: before a checkpoint that builds on it.
  void sync_journal();
  // A checkpoint of `step` is there, and no older one will be gone back to: what older groups hold goes from
  // the journal, if that is worth it. Returns the bytes of the journal.
  int64_t trim_journal(int64_t step);
  // Records that the run goes on from the weights of `step` in another way than it did (Ledger::restore). The
  // caller then ends, and the next server of this journal begins there.
  void restore(int64_t step);

  // Safe from any thread.
  RolloutStatus status() const;
  const std::string& address() const;

  struct Impl;  // learner/internal/rollout_server_impl.h, which the simulation of tests/trust drives by
                // itself

 private:
  void run(std::stop_token stop);
  void wait() const;

  const SteadyClock clock_;
  transport::RouterSocket socket_;
  transport::WeightStore weights_;  // the training loop's
  std::unique_ptr<Impl> impl_;
  std::jthread thread_;
};

}  // namespace sluice::learner
