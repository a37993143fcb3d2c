#include <algorithm>
#include <sstream>
#include <utility>

#include "base/json.h"
#include "learner/internal/rollout_server_impl.h"

namespace sluice::learner {
namespace {

using transport::FrameType;
using transport::Peer;

constexpr size_t kMaxSilent = 256;       // peers that may come back without saying who they are
constexpr size_t kMaxNames = 256;        // of actors whose last incarnation is known
constexpr Millis kStoodStillMs = 1'000;  // without a tick: then it was the learner that was away
constexpr Millis kTellEveryMs = 1'000;
constexpr Millis kGoodbyeMs = 1'000;

std::string seconds(Millis ms) {
  std::ostringstream out;
  out.precision(1);
  out << std::fixed << static_cast<double>(ms) / 1000.0 << " s";
  return out.str();
}

}  // namespace

void RolloutServer::Impl::tick() {
  const Millis time = now();
  if (time - last_tick > kStoodStillMs) {
    // The learner itself stood still: its time counts against nobody.
    for (const auto& address : addresses()) {
      peers.heard(address, time);
      ledger.renew(peers.find(address)->identity.name, time);
    }
  }
  last_tick = time;
  for (const auto& [address, peer] : peers.expire(time)) {
    forget(address, peer, "was not heard of for " + seconds(options.actor_timeout_ms));
  }
  for (const uint64_t id : ledger.expire(time)) {
    quarantine(lease_of(id, options.ledger.max_attempts - 1), ledger.fate(id)->reason, nullptr);
  }
  tell_who_is_heard();
}

// However long the training loop takes for a step.
void RolloutServer::Impl::tell_who_is_heard() {
  if (!events.heard || now() - told_ms < kTellEveryMs) return;
  const auto heard = actors(std::exchange(told_ms, now()));
  if (!heard.empty()) events.heard(heard);
}

std::vector<RolloutStatus::Actor> RolloutServer::Impl::actors(Millis heard_since) const {
  std::vector<RolloutStatus::Actor> all;
  for (const auto& [address, peer] : peers.peers()) {
    if (peer.last_heard < heard_since) continue;
    all.push_back({.name = peer.identity.name,
                   .pid = peer.identity.pid,
                   .incarnation = peer.identity.incarnation,
                   .tokens = peer.tokens,
                   .leases = ledger.held_by(peer.identity.name)});
  }
  return all;
}

void RolloutServer::Impl::join(const std::string& address, const transport::Identity& identity) {
  const auto& name = identity.name;
  const Peer* known = peers.find(address);
  const bool again =
      known != nullptr && known->identity.name == name && known->identity.incarnation == identity.incarnation;
  if (known != nullptr && !again) ledger.release_actor(known->identity.name);
  const bool replaces = !peers.join(address, identity, now()).empty();
  if (replaces_a_dead_one(identity)) {
    ledger.actor_died(name);
  } else if (replaces) {
    ledger.release_actor(name);
  }
  std::erase_if(silent, [&](const auto& other) {
    return other.first == address || other.second.identity.name == name;
  });
  if (!again) {
    notice(name + (replaces ? " joined in place of its former process" : " joined") + " (pid " +
           std::to_string(identity.pid) + ")");
  }
  const Json welcome = {{"heartbeat_ms", std::max<Millis>(1, options.actor_timeout_ms / 5)},
                        {"history", restores}};
  router.send(address, {.type = FrameType::Welcome, .payload = welcome.dump()});
  for (const auto& announcement : announcements) send_announcement(address, announcement);
}

// A silent one that is heard goes on where it was; null for a stranger.
Peer* RolloutServer::Impl::welcome_back(const std::string& address) {
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

// A process that starts under the name of another one shows that the other has ended, however long ago it was
// given up.
bool RolloutServer::Impl::replaces_a_dead_one(const transport::Identity& identity) {
  if (incarnations.size() >= kMaxNames && !incarnations.contains(identity.name)) {
    incarnations.erase(incarnations.begin());
  }
  const auto [known, fresh] = incarnations.try_emplace(identity.name, identity.incarnation);
  return std::exchange(known->second, identity.incarnation) != identity.incarnation && !fresh;
}

void RolloutServer::Impl::lose(const std::string& address, const std::string& why) {
  const Peer* peer = peers.find(address);
  if (peer == nullptr) return;
  const Peer gone = *peer;
  peers.leave(address);
  forget(address, gone, why);
}

// It has left the table; its leases are anybody's.
void RolloutServer::Impl::forget(const std::string& address, const Peer& peer, const std::string& why) {
  const int64_t returned = ledger.release_actor(peer.identity.name);
  if (silent.size() >= kMaxSilent) silent.erase(silent.begin());
  silent[address] = peer;
  notice(peer.identity.name + " " + why + "; leases given back: " + std::to_string(returned));
}

void RolloutServer::Impl::expel(const std::string& address, const std::string& reason) {
  std::string who = "an actor";
  if (const Peer* peer = peers.find(address)) {
    who = peer->identity.name;
    ledger.release_actor(who);
    peers.leave(address);
  }
  notice(who + " was refused: " + reason);
  router.send(address, {.type = FrameType::Refuse, .payload = reason});
}

// The address of the peer that can take on most, "" when none can take on any.
std::string RolloutServer::Impl::most_credit() const {
  const auto& all = peers.peers();
  const auto most = std::max_element(
      all.begin(), all.end(), [](const auto& a, const auto& b) { return a.second.credit < b.second.credit; });
  return most == all.end() || most->second.credit <= 0 ? "" : most->first;
}

std::vector<std::string> RolloutServer::Impl::addresses() const {
  std::vector<std::string> all;
  for (const auto& [address, peer] : peers.peers()) all.push_back(address);
  return all;
}

void RolloutServer::Impl::notice(const std::string& text) const {
  if (events.notice) events.notice(text);
}

// Again and again until they are gone: what a peer has not read when the connection ends does not reach it.
void RolloutServer::Impl::say_goodbye() {
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

}  // namespace sluice::learner
