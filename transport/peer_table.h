// Which peers are alive: a state machine that is told the time.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "transport/handshake.h"

namespace sluice::transport {

struct Peer {
  Identity identity;
  Millis last_heard = 0;
  int64_t credit = 0;   // leases it can take on
  uint64_t tokens = 0;  // generated so far, from its heartbeats
};

class PeerTable {
 public:
  explicit PeerTable(Millis timeout_ms) : timeout_ms_(timeout_ms) {}

  // A new incarnation of the same name replaces the old one, whose address is returned ("" when there is
  // none).
  std::string join(const std::string& address, const Identity& identity, Millis now);
  Peer* find(const std::string& address);
  void heard(const std::string& address, Millis now);
  void leave(const std::string& address);
  // Removes and returns the addresses not heard of for the timeout, with their peers.
  std::vector<std::pair<std::string, Peer>> expire(Millis now);
  const std::map<std::string, Peer>& peers() const { return peers_; }

 private:
  const Millis timeout_ms_;
  std::map<std::string, Peer> peers_;
};

}  // namespace sluice::transport
