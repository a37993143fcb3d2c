// The inside of the rollout server: what its thread and the training loop share, and the rounds of the
// thread.
//
// The thread holds `mutex` for a whole round, and the training loop for a whole call: each sees the other's
// work either not at all or finished. Bodies: rollout_server.cc (rounds), rollout_frames.cc (what comes and
// goes), rollout_refills.cc (groups without spread), rollout_peers.cc (who is there).
#pragma once

#include <condition_variable>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "buffers/journal.h"
#include "buffers/ledger.h"
#include "learner/internal/group_queue.h"
#include "learner/internal/wake_up.h"
#include "learner/rollout_server.h"
#include "transport/peer_table.h"
#include "transport/shared_weights.h"
#include "transport/sockets.h"

namespace sluice::learner {

struct RolloutServer::Impl {
  Impl(const RolloutServerOptions& the_options, MakeLease the_make_lease, RolloutEvents the_events,
       buffers::Recovered recovered, transport::Router& the_router, const Clock& the_clock);

  // The thread: start(), and a round whenever there may be something to do.
  void start();
  bool round();
  void commit();

  // What comes.
  void on_frame(const std::string& address, const transport::Frame& frame);
  void on_known(const std::string& address, transport::Peer& peer, const transport::Frame& frame);
  void on_hello(const std::string& address, const transport::Frame& frame);
  void on_ready(transport::Peer& peer, const transport::Frame& frame);
  void on_heartbeat(transport::Peer& peer, const transport::Frame& frame);
  bool on_group(const transport::Peer& peer, const transport::Frame& frame);
  void admit(buffers::RolloutGroup group);
  void quarantine(const buffers::Lease& lease, const std::string& reason, const buffers::RolloutGroup* group);
  void end_without_spread(buffers::RolloutGroup group);
  [[noreturn]] void fail_without_spread(const buffers::RolloutGroup& group) const;

  // What goes; each says whether it sent anything.
  bool announce();
  void send_announcement(const std::string& address, const transport::WeightAnnouncement& announcement);
  bool grant_leases();
  buffers::Lease lease_for(const buffers::Ledger::Grant& grant) const;
  buffers::Lease lease_of(uint64_t group, int32_t attempt) const;
  void require_live(const buffers::Ledger::Grant& grant) const;

  // Who is there.
  void tick();
  void tell_who_is_heard();
  std::vector<RolloutStatus::Actor> actors(Millis heard_since) const;
  void join(const std::string& address, const transport::Identity& identity);
  transport::Peer* welcome_back(const std::string& address);
  bool replaces_a_dead_one(const transport::Identity& identity);
  void lose(const std::string& address, const std::string& why);
  void forget(const std::string& address, const transport::Peer& peer, const std::string& why);
  void expel(const std::string& address, const std::string& reason);
  std::string most_credit() const;
  std::vector<std::string> addresses() const;
  void notice(const std::string& text) const;
  void say_goodbye();

  // For the training loop, with the mutex held.
  void rethrow() const;
  void published(const transport::WeightAnnouncement& announcement);
  std::vector<buffers::RolloutGroup> begin_step(int64_t step, std::vector<uint64_t> ids);
  void end_step(int64_t step, const std::vector<PoisonedGroup>& poisoned);
  void trim_journal(int64_t step);
  std::optional<std::vector<uint64_t>> compose(int64_t step);
  int64_t oldest_live();

  Millis now() const { return clock.now_ms(); }

  const RolloutServerOptions options;
  const MakeLease make_lease;
  const RolloutEvents events;
  const Clock& clock;
  transport::Router& router;  // the thread's; the owner's again when that has ended
  internal::WakeUp wake;

  mutable std::mutex mutex;  // guards all below
  std::condition_variable_any changed;
  std::exception_ptr failure;  // of the thread
  bool started = false;
  Millis last_tick = 0, told_ms = 0;
  const int64_t torn_bytes;  // of the journal, cut off
  const std::optional<int64_t> restored_to;
  const int64_t restores;  // by which actors tell histories of the run apart

  buffers::Ledger ledger;
  buffers::Journal journal;
  internal::GroupQueue queue;
  uint64_t next_issue = 0;                                         // the next slot that nobody was asked for
  std::optional<std::pair<int64_t, std::vector<uint64_t>>> batch;  // the step in training and its groups

  transport::PeerTable peers;
  std::map<std::string, transport::Peer> silent;  // by address: gave no sign of life, may come back
  std::map<std::string, uint64_t> incarnations;   // by name: the last that joined
  std::vector<transport::WeightAnnouncement> announcements;  // live versions, rising
  std::vector<transport::WeightAnnouncement> to_announce;    // those the peers have not been told of

  bool unsynced = false;                               // something in the journal has to be synced
  std::vector<std::pair<std::string, uint64_t>> acks;  // owed after that
  std::vector<uint64_t> ended;                         // to be told after that
};

}  // namespace sluice::learner
