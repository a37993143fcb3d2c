// ROUTER and DEALER as the learner and its actors use them: frames in, frames out, every wait with a
// deadline.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "transport/frame.h"

namespace sluice::transport {

// "ipc:///path" or "tcp://host:port". Only loopback addresses are accepted for tcp, as 127.x.x.x or
// localhost. An ipc path is absolute and has at most 107 bytes. Throws EnvironmentError for anything else.
void check_address(const std::string& address);

// What `Frame::run` is for a run id.
uint64_t run_hash(const std::string& run_id);

// What the protocol needs of the learner's end and of an actor's: its state machines take these, and a test
// hands them a network of its own.
class Router {
 public:
  virtual ~Router() = default;

  struct Received {
    std::string peer;  // opaque: where send() finds it again
    Frame frame;
  };
  virtual std::optional<Received> receive(Millis timeout_ms) = 0;
  // False when the peer is gone, or so far behind that it counts as gone.
  virtual bool send(const std::string& peer, Frame frame) = 0;
  virtual int64_t num_rejected() const = 0;  // frames that failed a check
};

class Dealer {
 public:
  virtual ~Dealer() = default;

  virtual std::optional<Frame> receive(Millis timeout_ms) = 0;
  // False when it could not be handed over within the time: nobody is there.
  virtual bool send(Frame frame, Millis timeout_ms) = 0;
  // Begins a connection anew, with what the one there is had not delivered lost.
  virtual void reconnect() = 0;
};

// Used by one thread. A frame that fails a check is counted and dropped; three in a row from one peer and it
// is not listened to for five seconds.
class RouterSocket final : public Router {
 public:
  // Throws EnvironmentError naming the address when it is taken or malformed. Port 0 lets the system choose.
  // The file of an ipc address is taken over without a word, also from a live owner: whoever binds one holds
  // the lock of the run directory.
  explicit RouterSocket(const std::string& address, uint64_t run);
  // What has not left by then is lost, and so is what a peer has not read yet: wait for peers that must know.
  // Removes the file of an ipc address, unless another has taken it over.
  ~RouterSocket() override;

  const std::string& address() const;  // as bound, with the chosen port

  // Frames of another run are dropped, but for a Hello: its sender is owed a reason.
  std::optional<Received> receive(Millis timeout_ms) override;
  bool send(const std::string& peer, Frame frame) override;
  int64_t num_rejected() const override;
  // Readable when receive() may have something; for poll(). It is an edge: call receive(0) until it is empty,
  // also after each send(), before waiting on it.
  int fd() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Used by one thread. Connects in the background, again and again until somebody listens; but after bytes
// that make no sense to ZeroMQ it takes reconnect().
class DealerSocket final : public Dealer {
 public:
  DealerSocket(const std::string& address, uint64_t run);
  ~DealerSocket() override;

  std::optional<Frame> receive(Millis timeout_ms) override;
  bool send(Frame frame, Millis timeout_ms) override;
  void reconnect() override;
  int64_t num_rejected() const;  // frames that failed a check

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::transport
