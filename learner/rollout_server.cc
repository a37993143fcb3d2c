#include "learner/rollout_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>

#include "base/byte_codec.h"
#include "base/error.h"
#include "base/json.h"
#include "buffers/journal.h"
#include "buffers/rollout_buffer.h"
#include "learner/internal/arrived_group.h"
#include "transport/peer_table.h"
#include "transport/sockets.h"

namespace sluice::learner {
namespace {

using buffers::Fate;
using buffers::FateKind;
using buffers::RolloutGroup;
using transport::Frame;
using transport::FrameType;
using transport::Peer;
using transport::WeightAnnouncement;

constexpr int kFramesPerRound = 256;     // then what they brought is made durable
constexpr int64_t kMaxCredit = 512;      // below what a socket queues for a peer
constexpr size_t kMaxSilent = 256;       // peers that may come back without saying who they are
constexpr Millis kTickMs = 50;           // for time-outs alone: whatever happens wakes the thread at once
constexpr Millis kStoodStillMs = 1'000;  // without a tick: then it was the learner that was away
constexpr Millis kGoodbyeMs = 1'000;

// Wakes a thread that waits in poll().
class WakeUp {
 public:
  WakeUp() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    require<EnvironmentError>(fd_ >= 0, "rollout server: no eventfd can be made, errno ", errno);
  }
  ~WakeUp() { ::close(fd_); }
  WakeUp(const WakeUp&) = delete;
  WakeUp& operator=(const WakeUp&) = delete;

  void signal() { ::eventfd_write(fd_, 1); }
  void clear() {
    eventfd_t ignored;
    ::eventfd_read(fd_, &ignored);
  }
  int fd() const { return fd_; }

 private:
  const int fd_;
};

std::string seconds(Millis ms) {
  std::ostringstream out;
  out.precision(1);
  out << std::fixed << static_cast<double>(ms) / 1000.0 << " s";
  return out.str();
}

int64_t capacity(const buffers::LedgerOptions& options, size_t recovered) {
  // A resumed run may hold the groups of many rewound steps beside those of the steps it fills.
  return (options.staleness + 2) * options.prompts_per_step + static_cast<int64_t>(recovered);
}

}  // namespace

struct RolloutServer::Impl {
  Impl(const RolloutServerOptions& the_options, MakeLease the_make_lease, RolloutEvents the_events,
       buffers::Recovered recovered)
      : options(the_options),
        make_lease(std::move(the_make_lease)),
        events(std::move(the_events)),
        router(options.address, transport::run_hash(options.identity.run)),
        ledger(std::move(recovered.ledger)),
        journal(options.journal),
        buffer(capacity(options.ledger, recovered.queued.size())),
        peers(options.actor_timeout_ms),
        next_issue(static_cast<uint64_t>(ledger.counts().issued)) {
    for (auto& group : recovered.queued) keep(std::move(group), now());
  }

  // --- the thread

  void run(std::stop_token stop) {
    try {
      start();
      while (!stop.stop_requested()) {
        if (!round()) wait();
      }
    } catch (...) {
      const std::lock_guard lock(mutex);
      failure = std::current_exception();
      changed.notify_all();
    }
  }

  void start() {
    const std::lock_guard lock(mutex);
    settle();
    started = true;
    last_tick = now();
    changed.notify_all();
  }

  // Handles what is there; false when nothing was. The socket's descriptor is an edge that sending may
  // consume, so it is waited on only after a round without any frame in or out.
  bool round() {
    wake.clear();
    const std::lock_guard lock(mutex);
    bool busy = announce();
    int frames = 0;
    for (; frames < kFramesPerRound; ++frames) {
      const auto received = router.receive(0);
      if (!received) break;
      on_frame(received->peer, received->frame);
    }
    if (frames < kFramesPerRound) tick();  // only what was read can tell who is silent
    busy |= grant_leases();
    commit();
    return busy || frames > 0;
  }

  void wait() {
    pollfd waiting[2] = {{router.fd(), POLLIN, 0}, {wake.fd(), POLLIN, 0}};
    ::poll(waiting, 2,
           static_cast<int>(kTickMs));  // a signal or the time only makes a round that finds nothing
  }

  // --- frames

  void on_frame(const std::string& address, const Frame& frame) {
    if (frame.type == FrameType::Hello) return on_hello(address, frame);
    Peer* peer = peers.find(address);
    if (peer == nullptr) peer = welcome_back(address);
    if (peer == nullptr) {
      router.send(address, {.type = FrameType::Hello});
      return;
    }
    peers.heard(address, now());
    try {
      switch (frame.type) {
        case FrameType::Ready:
          return on_ready(*peer, frame);
        case FrameType::Heartbeat:
          on_heartbeat(*peer, frame);
          router.send(address, {.type = FrameType::Ack});  // an actor that hears nothing for long gives up
          return;
        case FrameType::Group:
          return on_group(address, *peer, frame);
        default:
          fail<Malformed>("a frame of type ", static_cast<int>(frame.type), ", which an actor never sends");
      }
    } catch (const Malformed& error) {
      expel(address, error.what());
    }
  }

  // Says that a peer does not keep to the protocol; the mistakes of our own side are other Errors.
  struct Malformed : Error {
    explicit Malformed(const std::string& message) : Error(message, ExitCode::Data) {}
  };

  template <class Decode>
  static auto decoded(Decode decode) {
    try {
      return decode();
    } catch (const DataError& error) {
      throw Malformed(error.what());
    }
  }

  void on_hello(const std::string& address, const Frame& frame) {
    transport::Identity identity;
    try {
      identity = transport::decode_identity(frame.payload);
    } catch (const DataError& error) {
      return expel(address, error.what());
    }
    const auto reason = transport::refusal(options.identity, identity);
    if (!reason.empty()) return expel(address, identity.name + ": " + reason);

    const Peer* known = peers.find(address);
    const bool again = known != nullptr && known->identity.name == identity.name &&
                       known->identity.incarnation == identity.incarnation;
    if (known != nullptr && !again) release(known->identity.name);
    const bool replaces = !peers.join(address, identity, now()).empty();
    if (replaces) release(identity.name);
    std::erase_if(silent, [&](const auto& other) {
      return other.first == address || other.second.identity.name == identity.name;
    });
    if (!again) {
      notice(identity.name + (replaces ? " joined in place of its former process" : " joined") + " (pid " +
             std::to_string(identity.pid) + ")");
    }
    const Json welcome = {{"heartbeat_ms", std::max<Millis>(1, options.actor_timeout_ms / 5)}};
    router.send(address, {.type = FrameType::Welcome, .payload = welcome.dump()});
    for (const auto& announcement : announcements) send_announcement(address, announcement);
  }

  void on_ready(Peer& peer, const Frame& frame) {
    peer.credit = decoded([&] {
      ByteReader in(frame.payload, "ready of " + peer.identity.name);
      const int64_t credit = in.u32();
      in.finish();
      return std::min(credit, kMaxCredit);
    });
  }

  void on_heartbeat(Peer& peer, const Frame& frame) {
    const auto& name = peer.identity.name;
    // Says nothing of leases: then it is taken to hold all of them.
    int64_t holds = kMaxCredit;
    peer.tokens = decoded([&] {
      ByteReader in(frame.payload, "heartbeat of " + name);
      const uint64_t tokens = in.u64();
      if (in.remaining() > 0) holds = in.u32();
      in.finish();
      return tokens;
    });
    // One that was lost on its way would be renewed for ever by an actor that knows nothing of it.
    if (holds < num_loans(name)) return;
    renew(name, now());
  }

  void on_group(const std::string& address, const Peer& peer, const Frame& frame) {
    auto group = decoded([&] { return buffers::decode_group(frame.payload, options.limits); });
    const uint64_t id = group.group;
    if (id >= next_issue) {
      // Its issue was lost with the machine's power: it will be leased again, and produced again.
      notice(peer.identity.name + " sent group " + std::to_string(id) +
             ", which was not issued in this history");
    } else if (ledger.is_queued(id) || ledger.fate(id)) {
      ledger.admit(id, group.oldest_version());  // counts it as a duplicate
    } else {
      const auto lease = lease_for({id, group.attempt, step_of(id), ledger.version_for(id)});
      const auto wrong = internal::misfit(group, lease, options.reward_weights.size());
      if (!wrong.empty()) throw Malformed(wrong);
      const auto reason = internal::too_few_scored(group, options.reward_weights, options.min_scored);
      reason.empty() ? queue(std::move(group)) : quarantine(lease, reason, &group);
    }
    acks.emplace_back(address, frame.sequence);
  }

  void queue(RolloutGroup group) {
    journal.group(group);
    unsynced = true;
    const auto admission = ledger.admit(group.group, group.oldest_version());
    require(admission == buffers::Ledger::Admission::Accepted, "rollout server: group ", group.group,
            " is open, but the ledger refuses it");
    loans.erase(group.group);
    keep(std::move(group), now());
  }

  void quarantine(const buffers::Lease& lease, const std::string& reason, const RolloutGroup* group) {
    if (!ledger.fate(lease.group)) ledger.quarantine(lease.group, reason);
    journal.fate(lease.group, {FateKind::Quarantined, 0, reason});
    unsynced = true;
    loans.erase(lease.group);
    ended.push_back(lease.group);
    try {
      internal::write_quarantine_file(options.quarantine, lease, reason, group);
    } catch (const std::exception& error) {
      notice("group " + std::to_string(lease.group) + " is quarantined (" + reason +
             "), but its file cannot be written: " + error.what());
    }
  }

  // --- groups on their way into the buffer, in batching order

  void keep(RolloutGroup group, Millis arrival) {
    const uint64_t id = group.group;
    queued_at[id] = arrival;
    arrivals.push_back(id);
    waiting.emplace(id, std::move(group));
  }

  // Those whose turn has come: with exact versions batches go by ordinal, so one waits for every lower one.
  std::vector<uint64_t> take_settled() {
    if (!options.ledger.exact_versions) return std::exchange(arrivals, {});
    arrivals.clear();
    std::vector<uint64_t> settled;
    for (; next_in_order < next_issue; ++next_in_order) {
      if (waiting.contains(next_in_order)) {
        settled.push_back(next_in_order);
      } else if (!ledger.fate(next_in_order)) {
        break;
      }
    }
    return settled;
  }

  void settle() {
    const auto settled = take_settled();
    if (settled.empty()) return;
    if (events.queued) {
      std::vector<const RolloutGroup*> groups;
      for (const uint64_t id : settled) groups.push_back(&waiting.at(id));
      events.queued(groups);
    }
    for (const uint64_t id : settled) buffer.put(std::move(waiting.extract(id).mapped()));
  }

  // One fdatasync for all that came in this round; only then is anything acknowledged or shown.
  void commit() {
    if (unsynced) journal.sync();
    const bool news = std::exchange(unsynced, false) || !ended.empty();
    for (const auto& [address, sequence] : acks) {
      router.send(address,
                  {.type = FrameType::Ack, .sequence = sequence});  // a lost one: the group comes again
    }
    acks.clear();
    settle();
    const auto told = std::exchange(ended, {});
    if (!told.empty() && events.ended) events.ended(told);
    if (news) changed.notify_all();
  }

  // --- weights and leases out

  bool announce() {
    if (to_announce.empty()) return false;
    const auto all = addresses();
    for (const auto& announcement : std::exchange(to_announce, {})) {
      for (const auto& address : all) send_announcement(address, announcement);
    }
    return !all.empty();
  }

  void send_announcement(const std::string& address, const WeightAnnouncement& announcement) {
    const Frame frame{.type = FrameType::Weights, .payload = transport::encode_announcement(announcement)};
    if (!router.send(address, frame)) lose(address, "cannot be reached");
  }

  bool grant_leases() {
    bool busy = false;
    while (!announcements.empty() && room() > 0) {
      const auto address = most_credit();
      if (address.empty()) break;
      auto& peer = *peers.find(address);
      const auto grant = ledger.lease(peer.identity.name, now());
      if (!grant) break;
      busy = true;
      if (grant->group >= next_issue) {
        journal.issued(grant->group);
        next_issue = grant->group + 1;
      }
      require_live(*grant);
      loans[grant->group] = {peer.identity.name, now() + options.ledger.lease_ms};
      --peer.credit;
      const Frame frame{.type = FrameType::Lease, .payload = buffers::encode_lease(lease_for(*grant))};
      if (!router.send(address, frame)) lose(address, "cannot be reached");
    }
    return busy;
  }

  buffers::Lease lease_for(const buffers::Ledger::Grant& grant) const {
    auto lease = make_lease(grant);
    lease.group = grant.group;
    lease.attempt = grant.attempt;
    lease.step = grant.step;
    lease.version = grant.version;
    lease.exact_version = options.ledger.exact_versions;
    lease.lease_ms = options.ledger.lease_ms;
    return lease;
  }

  // Exact with exact versions; else nothing hangs on it.
  int64_t step_of(uint64_t group) const {
    return static_cast<int64_t>(group) / options.ledger.prompts_per_step;
  }

  int64_t room() const {
    return buffer.room() - static_cast<int64_t>(waiting.size()) - static_cast<int64_t>(loans.size());
  }

  std::string most_credit() const {
    const auto& all = peers.peers();
    const auto most = std::max_element(all.begin(), all.end(), [](const auto& a, const auto& b) {
      return a.second.credit < b.second.credit;
    });
    return most == all.end() || most->second.credit <= 0 ? "" : most->first;
  }

  void require_live(const buffers::Ledger::Grant& grant) const {
    const bool live = std::any_of(announcements.begin(), announcements.end(), [&](const auto& announcement) {
      return announcement.version == grant.version;
    });
    require(live || !options.ledger.exact_versions, "rollout server: group ", grant.group,
            " is to be sampled from version ", grant.version, ", which was not published; the oldest one is ",
            announcements.front().version);
  }

  // --- who is there

  void tick() {
    const Millis time = now();
    if (time - last_tick > kStoodStillMs) {
      // The learner itself stood still: its time counts against nobody.
      for (const auto& address : addresses()) {
        peers.heard(address, time);
        renew(peers.find(address)->identity.name, time);
      }
    }
    last_tick = time;
    for (auto& [address, peer] : peers.expire(time)) {
      forget(address, peer, "was not heard of for " + seconds(options.actor_timeout_ms));
    }
    std::erase_if(loans, [&](const auto& loan) { return loan.second.deadline <= time; });
    for (const uint64_t id : ledger.expire(time)) {
      const auto lease =
          lease_for({id, options.ledger.max_attempts - 1, step_of(id), ledger.version_for(id)});
      quarantine(lease, ledger.fate(id)->reason, nullptr);
    }
  }

  std::vector<std::string> addresses() const {
    std::vector<std::string> all;
    for (const auto& [address, peer] : peers.peers()) all.push_back(address);
    return all;
  }

  void renew(const std::string& actor, Millis time) {
    ledger.renew(actor, time);
    for (auto& [group, loan] : loans) {
      if (loan.actor == actor) loan.deadline = time + options.ledger.lease_ms;
    }
  }

  int64_t num_loans(const std::string& actor) const {
    return std::count_if(loans.begin(), loans.end(),
                         [&](const auto& loan) { return loan.second.actor == actor; });
  }

  int64_t release(const std::string& actor) {
    std::erase_if(loans, [&](const auto& loan) { return loan.second.actor == actor; });
    return ledger.release_actor(actor);
  }

  void lose(const std::string& address, const std::string& why) {
    const Peer* peer = peers.find(address);
    if (peer == nullptr) return;
    const Peer gone = *peer;
    peers.leave(address);
    forget(address, gone, why);
  }

  // It has left the table; should it be heard again, it goes on where it was.
  void forget(const std::string& address, const Peer& peer, const std::string& why) {
    const int64_t leases = release(peer.identity.name);
    if (silent.size() >= kMaxSilent) silent.erase(silent.begin());
    silent[address] = peer;
    notice(peer.identity.name + " " + why + "; leases given back: " + std::to_string(leases));
  }

  Peer* welcome_back(const std::string& address) {
    const auto found = silent.find(address);
    if (found == silent.end()) return nullptr;
    const Peer before = std::move(found->second);
    silent.erase(found);
    peers.join(address, before.identity, now());
    Peer* peer = peers.find(address);
    peer->credit = before.credit;
    peer->tokens = before.tokens;
    notice(before.identity.name + " is heard again");
    // What was announced meanwhile did not reach it.
    for (const auto& announcement : announcements) send_announcement(address, announcement);
    return peers.find(address);
  }

  void expel(const std::string& address, const std::string& reason) {
    std::string who = "an actor";
    if (const Peer* peer = peers.find(address)) {
      who = peer->identity.name;
      release(who);
      peers.leave(address);
    }
    notice(who + " was refused: " + reason);
    router.send(address, {.type = FrameType::Refuse, .payload = reason});
  }

  void notice(const std::string& text) const {
    if (events.notice) events.notice(text);
  }

  // Told again and again until they are gone: what a peer has not read when the connection ends does not
  // reach it.
  void say_goodbye() {
    auto there = addresses();
    for (const auto& [address, peer] : silent) there.push_back(address);
    const Millis deadline = now() + kGoodbyeMs;
    while (now() < deadline) {
      std::erase_if(there,
                    [&](const auto& address) { return !router.send(address, {.type = FrameType::Stop}); });
      if (there.empty()) return;
      const Millis next = now() + 20;
      while (now() < next) router.receive(next - now());
    }
  }

  // --- calls of the training loop

  void rethrow() const {
    if (failure) std::rethrow_exception(failure);
  }

  std::optional<std::vector<uint64_t>> compose(int64_t step) {
    auto ids = ledger.batch(step);
    for (const uint64_t id : ledger.take_newly_dropped()) {
      journal.fate(id, *ledger.fate(id));
      buffer.erase(id);
      queued_at.erase(id);
      ended.push_back(id);  // told by the thread, which also has room for another lease now
      wake.signal();
    }
    return ids;
  }

  // The oldest version that is still needed; announces no older one any more.
  int64_t oldest_live() {
    if (announcements.empty()) return 0;
    const int64_t oldest = std::min(ledger.oldest_needed_version(), announcements.back().version);
    const auto older = [&](const WeightAnnouncement& announcement) { return announcement.version < oldest; };
    std::erase_if(announcements, older);
    std::erase_if(to_announce, older);
    return oldest;
  }

  static Millis now() { return SteadyClock().now_ms(); }

  struct Loan {
    std::string actor;
    Millis deadline = 0;
  };

  const RolloutServerOptions options;
  const MakeLease make_lease;
  const RolloutEvents events;
  WakeUp wake;
  transport::RouterSocket router;  // the thread's; the owner's again when it has ended
  transport::WeightStore weights;  // the training loop's

  mutable std::mutex mutex;  // guards everything below
  std::condition_variable changed;
  std::exception_ptr failure;
  bool started = false;
  buffers::Ledger ledger;
  buffers::Journal journal;
  buffers::RolloutBuffer buffer;
  transport::PeerTable peers;
  std::map<std::string, Peer> silent;             // by address: gave no sign of life, may come back
  std::map<uint64_t, Loan> loans;                 // leases out, as the ledger has them
  std::vector<WeightAnnouncement> announcements;  // live versions, rising
  std::vector<WeightAnnouncement> to_announce;    // those the peers have not been told of
  uint64_t next_issue = 0;                        // ordinal of the next new group
  uint64_t next_in_order = 0;                     // ordinal that the buffer takes next, with exact versions
  std::map<uint64_t, RolloutGroup> waiting;       // in the journal, their turn has not come
  std::vector<uint64_t> arrivals;                 // of `waiting`, in order
  std::map<uint64_t, Millis> queued_at;
  std::vector<std::pair<std::string, uint64_t>> acks;  // owed after the next sync
  std::vector<uint64_t> ended;                         // to be told
  bool unsynced = false;
  Millis last_tick = 0;
  std::optional<std::pair<int64_t, std::vector<uint64_t>>> batch;  // in training
};

RolloutServer::RolloutServer(const RolloutServerOptions& options, MakeLease make_lease, RolloutEvents events,
                             int64_t from_step)
    : impl_(std::make_unique<Impl>(options, std::move(make_lease), std::move(events),
                                   buffers::recover(options.ledger, options.journal, from_step))),
      thread_([impl = impl_.get()](std::stop_token stop) { impl->run(std::move(stop)); }) {}

RolloutServer::~RolloutServer() {
  thread_.request_stop();
  impl_->wake.signal();
  thread_.join();
  try {
    impl_->say_goodbye();
  } catch (const std::exception&) {
    // The actors then notice by themselves that nobody is there.
  }
}

void RolloutServer::publish(int64_t version, std::string_view bytes) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->rethrow();
  }
  // Copying and freeing large weights takes long, so it is done where nobody waits for it.
  const auto announcement = impl_->weights.publish(version, bytes);
  int64_t oldest = 0;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->ledger.publish(version);
    impl_->announcements.push_back(announcement);
    impl_->to_announce.push_back(announcement);
    oldest = impl_->oldest_live();
  }
  impl_->wake.signal();
  impl_->weights.retire(oldest);
}

std::optional<std::vector<RolloutGroup>> RolloutServer::take_batch(int64_t step, Millis timeout_ms) {
  std::unique_lock lock(impl_->mutex);
  std::optional<std::vector<uint64_t>> ids;
  const auto ready = [&] {
    if (impl_->failure) return true;
    if (impl_->started) ids = impl_->compose(step);
    return ids.has_value();
  };
  impl_->changed.wait_for(lock, std::chrono::milliseconds(timeout_ms), ready);
  impl_->rethrow();
  if (!ids) return std::nullopt;
  impl_->journal.batch(step, *ids);
  impl_->journal.sync();
  auto groups = impl_->buffer.take(*ids);
  for (const uint64_t id : *ids) impl_->queued_at.erase(id);
  impl_->batch = {step, std::move(*ids)};
  impl_->wake.signal();  // there is room for leases
  return groups;
}

void RolloutServer::trained(int64_t step) {
  int64_t oldest = 0;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->rethrow();
    const auto& batch = impl_->batch;
    require(batch && batch->first == step, "rollout server: step ", step, " is trained, the last batch is ",
            batch ? "of step " + std::to_string(batch->first) : "none");
    impl_->ledger.trained(step, batch->second);
    impl_->journal.trained(step);
    impl_->batch.reset();
    oldest = impl_->oldest_live();
  }
  impl_->weights.retire(oldest);
}

RolloutStatus RolloutServer::status() const {
  const std::lock_guard lock(impl_->mutex);
  const Millis now = Impl::now();
  RolloutStatus status;
  status.law = impl_->ledger.counts();
  status.reasons = impl_->ledger.reasons();
  status.queue_depth = impl_->buffer.size() + static_cast<int64_t>(impl_->waiting.size());
  status.duplicates = impl_->ledger.duplicates();
  for (const auto& [group, arrival] : impl_->queued_at) {
    status.oldest_age_s = std::max(status.oldest_age_s, static_cast<double>(now - arrival) / 1000.0);
  }
  for (const auto& [address, peer] : impl_->peers.peers()) {
    status.credits += peer.credit;
    status.actors.push_back({.name = peer.identity.name,
                             .pid = peer.identity.pid,
                             .incarnation = peer.identity.incarnation,
                             .tokens = peer.tokens,
                             .leases = impl_->num_loans(peer.identity.name),
                             .silent_s = static_cast<double>(now - peer.last_heard) / 1000.0});
  }
  return status;
}

const std::string& RolloutServer::address() const { return impl_->router.address(); }

}  // namespace sluice::learner
