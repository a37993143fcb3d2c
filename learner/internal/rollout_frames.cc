#include <algorithm>

#include "base/byte_codec.h"
#include "base/error.h"
#include "buffers/group_id.h"
#include "learner/internal/arrived_group.h"
#include "learner/internal/rollout_server_impl.h"

namespace sluice::learner {
namespace {

using buffers::FateKind;
using buffers::RolloutGroup;
using transport::Frame;
using transport::FrameType;
using transport::Peer;

constexpr int64_t kMaxCredit = 512;  // below what a socket queues for a peer

// Says that a peer does not keep to the protocol; the mistakes of our own side are other Errors.
struct Malformed : Error {
  explicit Malformed(const std::string& message) : Error(message, ExitCode::Data) {}
};

template <class Decode>
auto decoded(Decode decode) {
  try {
    return decode();
  } catch (const DataError& error) {
    throw Malformed(error.what());
  }
}

}  // namespace

void RolloutServer::Impl::on_frame(const std::string& address, const Frame& frame) {
  try {
    if (frame.type == FrameType::Hello) return on_hello(address, frame);
    Peer* peer = peers.find(address);
    if (peer == nullptr) peer = welcome_back(address);
    if (peer != nullptr) return on_known(address, *peer, frame);
    router.send(address, {.type = FrameType::Hello});
  } catch (const Malformed& error) {
    expel(address, error.what());
  }
}

void RolloutServer::Impl::on_known(const std::string& address, Peer& peer, const Frame& frame) {
  peers.heard(address, now());
  switch (frame.type) {
    case FrameType::Ready:
      return on_ready(peer, frame);
    case FrameType::Heartbeat:
      on_heartbeat(peer, frame);
      router.send(address, {.type = FrameType::Ack});  // an actor that hears nothing for long gives up
      return;
    case FrameType::Group:
      if (on_group(peer, frame)) acks.emplace_back(address, frame.sequence);
      return;
    default:
      fail<Malformed>("a frame of type ", static_cast<int>(frame.type), ", which an actor never sends");
  }
}

void RolloutServer::Impl::on_hello(const std::string& address, const Frame& frame) {
  const auto identity = decoded([&] { return transport::decode_identity(frame.payload); });
  const auto reason = transport::refusal(options.identity, identity);
  if (!reason.empty()) throw Malformed(identity.name + ": " + reason);
  join(address, identity);
}

void RolloutServer::Impl::on_ready(Peer& peer, const Frame& frame) {
  peer.credit = decoded([&] {
    ByteReader in(frame.payload, "ready of " + peer.identity.name);
    const int64_t credit = in.u32();
    in.finish();
    return std::min(credit, kMaxCredit);
  });
}

void RolloutServer::Impl::on_heartbeat(Peer& peer, const Frame& frame) {
  const auto& name = peer.identity.name;
  const auto [tokens, held] = decoded([&] {
    ByteReader in(frame.payload, "heartbeat of " + name);
    const uint64_t generated = in.u64();
    const int64_t has = in.u32();
    in.finish();
    return std::pair(generated, has);
  });
  peer.tokens = tokens;
  // One that was lost on its way would be renewed for ever by an actor that knows nothing of it.
  if (held >= ledger.held_by(name)) ledger.renew(name, now());
}

// Whether the actor need not keep it any more.
bool RolloutServer::Impl::on_group(const Peer& peer, const Frame& frame) {
  auto group = decoded([&] { return buffers::decode_group(frame.payload, options.limits); });
  const uint64_t id = group.group;
  if (!ledger.was_issued(id)) {
    // Its issue was lost with the machine's power: it will be leased again, and is wanted then.
    notice(peer.identity.name + " sent group " + buffers::group_name(id) +
           ", which was not issued in this history");
    return false;
  }
  if (ledger.is_queued(id) || ledger.fate(id)) {
    ledger.admit(id, group.oldest_version());  // counts it as a duplicate
    return true;
  }
  // From a spool, of a step that this history has not come to again: what it asks may depend on those before
  // it.
  const int64_t published = announcements.empty() ? -1 : announcements.back().version;
  if (options.ledger.exact_versions && ledger.version_for(id) > published) return false;
  const auto lease = lease_of(id, group.attempt);
  const auto wrong = internal::misfit(group, lease, options.reward_weights.size(), options.limits.max_tokens);
  if (!wrong.empty()) throw Malformed(wrong);
  const auto reason = internal::quarantine_reason(group, options.reward_weights, options.min_scored);
  if (!reason.empty()) {
    quarantine(lease, reason, &group);
    return true;
  }
  const bool teaches = options.ledger.refills == 0 || internal::has_spread(group, options.reward_weights);
  teaches ? admit(std::move(group)) : end_without_spread(std::move(group));
  return true;
}

void RolloutServer::Impl::admit(RolloutGroup group) {
  journal.group(group);
  unsynced = true;
  const auto admission = ledger.admit(group.group, group.oldest_version());
  require(admission == buffers::Ledger::Admission::Accepted, "rollout server: group ", group.group,
          " is open, but the ledger refuses it");
  queue.arrive(std::move(group), now());
}

void RolloutServer::Impl::quarantine(const buffers::Lease& lease, const std::string& reason,
                                     const RolloutGroup* group) {
  if (!ledger.fate(lease.group)) ledger.quarantine(lease.group, reason);
  journal.fate(lease.group, {FateKind::Quarantined, 0, reason});
  unsynced = true;
  ended.push_back(lease.group);
  try {
    internal::write_quarantine_file(options.quarantine, lease, reason, group);
  } catch (const std::exception& error) {
    notice("group " + buffers::group_name(lease.group) + " is quarantined (" + reason +
           "), but its file cannot be written: " + error.what());
  }
}

bool RolloutServer::Impl::announce() {
  if (to_announce.empty()) return false;
  const auto all = addresses();
  for (const auto& announcement : std::exchange(to_announce, {})) {
    for (const auto& address : all) send_announcement(address, announcement);
  }
  return !all.empty();
}

void RolloutServer::Impl::send_announcement(const std::string& address,
                                            const transport::WeightAnnouncement& announcement) {
  const Frame frame{.type = FrameType::Weights, .payload = transport::encode_announcement(announcement)};
  if (!router.send(address, frame)) lose(address, "cannot be reached");
}

bool RolloutServer::Impl::grant_leases() {
  bool sent = false;
  while (!announcements.empty() && queue.room() > ledger.num_live()) {
    const auto address = most_credit();
    if (address.empty()) break;
    auto& peer = *peers.find(address);
    const auto grant = ledger.lease(peer.identity.name, now());
    if (!grant) break;
    require_live(*grant);
    if (grant->group == next_issue) {  // a refill was issued by the end of the group before it
      journal.issued(grant->group);  // synced with the group at the latest, before which it matters to nobody
      ++next_issue;
    }
    --peer.credit;
    const Frame frame{.type = FrameType::Lease, .payload = buffers::encode_lease(lease_for(*grant))};
    if (!router.send(address, frame)) lose(address, "cannot be reached");
    sent = true;
  }
  return sent;
}

buffers::Lease RolloutServer::Impl::lease_for(const buffers::Ledger::Grant& grant) const {
  auto lease = make_lease(grant);
  lease.group = grant.group;
  lease.attempt = grant.attempt;
  lease.step = grant.step;
  lease.version = grant.version;
  lease.exact_version = options.ledger.exact_versions;
  lease.lease_ms = options.ledger.lease_ms;
  return lease;
}

// The lease of a group that was issued before. Without exact versions its step was another, which nobody asks
// for.
buffers::Lease RolloutServer::Impl::lease_of(uint64_t group, int32_t attempt) const {
  const auto step = static_cast<int64_t>(buffers::slot_of(group)) / options.ledger.prompts_per_step;
  return lease_for({group, attempt, step, ledger.version_for(group)});
}

void RolloutServer::Impl::require_live(const buffers::Ledger::Grant& grant) const {
  const bool live = std::any_of(announcements.begin(), announcements.end(), [&](const auto& announcement) {
    return announcement.version == grant.version;
  });
  require(live || !options.ledger.exact_versions, "rollout server: group ", grant.group,
          " is to be sampled from version ", grant.version, ", which was not published; the oldest one is ",
          announcements.front().version);
}

}  // namespace sluice::learner
