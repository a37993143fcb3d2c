#include "learner/rollout_server.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/failpoint.h"
#include "learner/internal/rollout_server_impl.h"

namespace sluice::learner {

using buffers::RolloutGroup;
using transport::FrameType;
using transport::WeightAnnouncement;

namespace {

constexpr int kFramesPerRound = 256;  // then what they brought is made durable
constexpr Millis kTickMs = 50;        // for time-outs alone: whatever happens wakes the thread at once

}  // namespace

RolloutServer::Impl::Impl(const RolloutServerOptions& the_options, MakeLease the_make_lease,
                          RolloutEvents the_events, buffers::Recovered recovered,
                          transport::Router& the_router, const Clock& the_clock)
    : options(the_options),
      make_lease(std::move(the_make_lease)),
      events(std::move(the_events)),
      clock(the_clock),
      router(the_router),
      torn_bytes(recovered.journal.torn_bytes()),
      restored_to(recovered.restored_to),
      restores(recovered.restores),
      ledger(std::move(recovered.ledger)),
      journal(std::move(recovered.journal)),
      queue(options.ledger, std::ssize(recovered.queued)),
      next_issue(static_cast<uint64_t>(ledger.num_slots())),
      peers(options.actor_timeout_ms) {
  for (auto& group : recovered.queued) queue.arrive(std::move(group), now());
}

void RolloutServer::Impl::start() {
  const std::lock_guard lock(mutex);
  if (torn_bytes > 0) {
    notice("journal: cut " + std::to_string(torn_bytes) + " bytes that a crash left");
  }
  queue.settle(ledger, events.queued);
  started = true;
  last_tick = now();
  changed.notify_all();
}

// Handles what is there; false when nothing was. The socket's descriptor is an edge that sending may consume,
// so it is waited on only after a round without any frame in or out.
bool RolloutServer::Impl::round() {
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

// One fdatasync for all that came in this round; only then is anything acknowledged or shown.
void RolloutServer::Impl::commit() {
  if (unsynced) journal.sync();
  const bool news = std::exchange(unsynced, false) || !ended.empty();
  for (const auto& [address, sequence] : acks) {
    // To one that is gone: it sends the group again when it is back.
    router.send(address, {.type = FrameType::Ack, .sequence = sequence});
  }
  acks.clear();
  queue.settle(ledger, events.queued);
  const auto told = std::exchange(ended, {});
  if (!told.empty() && events.ended) events.ended(told);
  if (news) changed.notify_all();
}

void RolloutServer::Impl::rethrow() const {
  if (failure) std::rethrow_exception(failure);
}

// The groups of the step's batch, if they are there. What is too old for it is dropped.
std::optional<std::vector<uint64_t>> RolloutServer::Impl::compose(int64_t step) {
  auto ids = ledger.batch(step);
  for (const uint64_t id : ledger.take_newly_dropped()) {
    journal.fate(id, *ledger.fate(id));
    queue.drop(id);
    ended.push_back(id);  // told by the thread, which also has room for another lease now
    wake.signal();
  }
  return ids;
}

// The oldest version that is still needed; announces no older one any more.
int64_t RolloutServer::Impl::oldest_live() {
  if (announcements.empty()) return 0;
  const int64_t oldest = std::min(ledger.oldest_needed_version(), announcements.back().version);
  const auto older = [&](const WeightAnnouncement& announcement) { return announcement.version < oldest; };
  std::erase_if(announcements, older);
  std::erase_if(to_announce, older);
  return oldest;
}

void RolloutServer::Impl::published(const WeightAnnouncement& announcement) {
  ledger.publish(announcement.version);
  announcements.push_back(announcement);
  to_announce.push_back(announcement);
}

std::vector<RolloutGroup> RolloutServer::Impl::begin_step(int64_t step, std::vector<uint64_t> ids) {
  journal.batch(step, ids);
  journal.sync();
  reach(Failpoint::BatchJournalled);
  auto groups = queue.take(ids);
  batch = {step, std::move(ids)};
  return groups;
}

void RolloutServer::Impl::end_step(int64_t step, const std::vector<PoisonedGroup>& poisoned) {
  require(batch && batch->first == step, "rollout server: step ", step, " is trained, the last batch is ",
          batch ? "of step " + std::to_string(batch->first) : "none");
  std::map<uint64_t, std::string> reasons;
  for (const auto& [group, reason] : poisoned) reasons[group.group] = reason;
  ledger.trained(step, batch->second, reasons);
  for (const auto& [group, reason] : poisoned) {
    quarantine(lease_of(group.group, group.attempt), reason, &group);
  }
  journal.trained(step);
  batch.reset();
}

void RolloutServer::Impl::trim_journal(int64_t step) {
  journal.trim([&](uint64_t group) { return !ledger.ended_before(group, step); });
}

RolloutServer::RolloutServer(const RolloutServerOptions& options, MakeLease make_lease, RolloutEvents events,
                             int64_t from_step)
    : socket_(options.address, transport::run_hash(options.identity.run)),
      impl_(std::make_unique<Impl>(options, std::move(make_lease), std::move(events),
                                   buffers::recover(options.ledger, options.journal, from_step), socket_,
                                   clock_)),
      thread_([this](std::stop_token stop) { run(std::move(stop)); }) {}

void RolloutServer::run(std::stop_token stop) {
  try {
    impl_->start();
    while (!stop.stop_requested()) {
      if (!impl_->round()) wait();
    }
  } catch (...) {
    const std::lock_guard lock(impl_->mutex);
    impl_->failure = std::current_exception();
    impl_->changed.notify_all();
  }
}

void RolloutServer::wait() const {
  pollfd waiting[2] = {{socket_.fd(), POLLIN, 0}, {impl_->wake.fd(), POLLIN, 0}};
  ::poll(waiting, 2, static_cast<int>(kTickMs));  // however it ends, a round finds out what there is
}

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

void RolloutServer::publish(int64_t version, const transport::WeightSource& weights) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->rethrow();
  }
  // Writing and freeing large weights takes long, so it is done where nobody waits for it.
  const auto announcement = weights_.publish(version, weights);
  int64_t oldest = 0;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->published(announcement);
    oldest = impl_->oldest_live();
  }
  impl_->wake.signal();
  weights_.retire(oldest);
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
  auto groups = impl_->begin_step(step, *std::move(ids));
  impl_->wake.signal();  // there is room for leases
  return groups;
}

std::optional<std::vector<RolloutGroup>> RolloutServer::next_batch(int64_t step, std::stop_token stop) {
  std::unique_lock lock(impl_->mutex);
  std::optional<std::vector<uint64_t>> ids;
  const auto ready = [&] {
    const auto& batch = impl_->batch;
    if (!impl_->started || (batch && batch->first >= step)) return false;
    ids = impl_->ledger.next_batch(step, batch ? batch->second : std::vector<uint64_t>());
    return ids.has_value();
  };
  if (!impl_->changed.wait(lock, std::move(stop), ready)) return std::nullopt;
  return impl_->queue.copy(*ids);
}

void RolloutServer::trained(int64_t step, const std::vector<PoisonedGroup>& poisoned) {
  int64_t oldest = 0;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->rethrow();
    impl_->end_step(step, poisoned);
    oldest = impl_->oldest_live();
  }
  weights_.retire(oldest);
}

void RolloutServer::sync_journal() {
  const std::lock_guard lock(impl_->mutex);
  impl_->rethrow();
  impl_->journal.sync();
}

int64_t RolloutServer::trim_journal(int64_t step) {
  const std::lock_guard lock(impl_->mutex);
  impl_->rethrow();
  impl_->trim_journal(step);
  return impl_->journal.size();
}

void RolloutServer::restore(int64_t step) {
  const std::lock_guard lock(impl_->mutex);
  impl_->rethrow();
  impl_->journal.restore(step);
  impl_->journal.sync();
}

RolloutStatus RolloutServer::status() const {
  const std::lock_guard lock(impl_->mutex);
  RolloutStatus status;
  status.law = impl_->ledger.counts();
  status.reasons = impl_->ledger.reasons();
  status.queue_depth = impl_->queue.depth();
  status.oldest_age_s = static_cast<double>(impl_->queue.oldest_age(impl_->now())) / 1000.0;
  status.duplicates = impl_->ledger.duplicates();
  status.rejected_frames = impl_->router.num_rejected();
  status.journal_bytes = impl_->journal.size();
  status.torn_bytes = impl_->torn_bytes;
  status.restored_to = impl_->restored_to;
  for (const auto& [address, peer] : impl_->peers.peers()) status.credits += peer.credit;
  status.actors = impl_->actors(/*heard_since=*/0);
  return status;
}

buffers::RefillCounts RolloutServer::refills() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->ledger.refills(impl_->batch->first, impl_->batch->second);
}

const std::string& RolloutServer::address() const { return socket_.address(); }

}  // namespace sluice::learner
