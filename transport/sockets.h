// ROUTER and DEALER as the learner and its actors use them: frames in, frames out, every wait with a deadline.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "transport/frame.h"

namespace sluice::transport {

// "ipc:///path" or "tcp://host:port". Only loopback addresses are accepted for tcp.
// An ipc path has at most 107 bytes.
void check_address(const std::string& address);

// Used by one thread. A frame that fails a check is counted and dropped; three in a row from one peer and it
// is not listened to any more.
class RouterSocket {
 public:
  // Throws EnvironmentError naming the address when it is taken or malformed. Port 0 lets the system choose.
  explicit RouterSocket(const std::string& address, uint64_t run);
  ~RouterSocket();

  const std::string& address() const;  // as bound, with the chosen port

  struct Received {
    std::string peer;  // opaque: where send() finds it again
    Frame frame;
  };
  std::optional<Received> receive(Millis timeout_ms);
  // False when the peer is gone.
  bool send(const std::string& peer, Frame frame);
  int64_t num_rejected() const;  // frames that failed a check
  // Readable when receive() may have something; for poll().
  int fd() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Used by one thread.
class DealerSocket {
 public:
  DealerSocket(const std::string& address, uint64_t run);
  ~DealerSocket();

  std::optional<Frame> receive(Millis timeout_ms);
  // False when it could not be handed over within the time: nobody is there.
  bool send(Frame frame, Millis timeout_ms);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::transport
