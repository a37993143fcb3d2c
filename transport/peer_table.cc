#include "transport/peer_table.h"

#include <utility>

namespace sluice::transport {

std::string PeerTable::join(const std::string& address, const Identity& identity, Millis now) {
  std::string replaced;
  for (auto at = peers_.begin(); at != peers_.end(); ++at) {
    if (at->first == address || at->second.identity.name != identity.name) continue;
    replaced = at->first;
    peers_.erase(at);
    break;  // names are unique here, so there is no second one
  }
  peers_[address] = {identity, now};
  return replaced;
}

Peer* PeerTable::find(const std::string& address) {
  const auto found = peers_.find(address);
  return found == peers_.end() ? nullptr : &found->second;
}

void PeerTable::heard(const std::string& address, Millis now) {
  if (Peer* peer = find(address)) peer->last_heard = now;
}

void PeerTable::leave(const std::string& address) { peers_.erase(address); }

std::vector<std::pair<std::string, Peer>> PeerTable::expire(Millis now) {
  std::vector<std::pair<std::string, Peer>> silent;
  for (auto at = peers_.begin(); at != peers_.end();) {
    if (now - at->second.last_heard < timeout_ms_) {
      ++at;
      continue;
    }
    silent.emplace_back(at->first, std::move(at->second));
    at = peers_.erase(at);
  }
  return silent;
}

}  // namespace sluice::transport
