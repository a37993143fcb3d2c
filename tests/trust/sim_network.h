// A network that loses, doubles and reorders frames, and its ends as the protocol has them.
#pragma once

#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "tests/trust/sim_random.h"
#include "transport/handshake.h"
#include "transport/sockets.h"

namespace sluice::trust {

using transport::Frame;
using transport::FrameType;

inline constexpr double kLoseFrame = 0.05, kDoubleFrame = 0.05;

// Frames under way, in no order.
struct Packet {
  int64_t actor = 0;  // who sends or is to get it
  uint64_t incarnation = 0;
  bool to_learner = false;
  uint64_t epoch = 0;  // of the learner's process
  Frame frame;
};

class Network {
 public:
  explicit Network(SimRandom& random) : random_(random) {}

  void send(Packet packet) {
    if (faulty && random_.chance(kLoseFrame)) {
      ++lost;
      return;
    }
    if (faulty && random_.chance(kDoubleFrame)) packets_.push_back(packet);
    packets_.push_back(std::move(packet));
  }
  // The next one; any of them while there are faults.
  std::optional<Packet> take() {
    if (packets_.empty()) return std::nullopt;
    const auto at = packets_.begin() + (faulty ? random_.below(std::ssize(packets_)) : 0);
    auto packet = std::move(*at);
    packets_.erase(at);
    return packet;
  }

  bool faulty = true;
  int64_t lost = 0;

 private:
  SimRandom& random_;
  std::deque<Packet> packets_;
};

inline std::string address_of(int64_t actor, uint64_t incarnation) {
  return std::to_string(actor) + "." + std::to_string(incarnation);
}

class SimRouter final : public transport::Router {
 public:
  SimRouter(Network& network, uint64_t epoch) : network_(network), epoch_(epoch) {}

  std::optional<Received> receive(Millis) override {
    if (inbox.empty()) return std::nullopt;
    auto received = std::move(inbox.front());
    inbox.pop_front();
    return received;
  }
  bool send(const std::string& peer, Frame frame) override {
    const auto dot = peer.find('.');
    network_.send({.actor = std::stoll(peer.substr(0, dot)),
                   .incarnation = std::stoull(peer.substr(dot + 1)),
                   .to_learner = false,
                   .epoch = epoch_,
                   .frame = std::move(frame)});
    return true;
  }
  int64_t num_rejected() const override { return 0; }

  std::deque<Received> inbox;

 private:
  Network& network_;
  const uint64_t epoch_;
};

class SimDealer final : public transport::Dealer {
 public:
  SimDealer(Network& network, int64_t actor, uint64_t incarnation)
      : network_(network), actor_(actor), incarnation_(incarnation) {}

  std::optional<Frame> receive(Millis) override {
    if (inbox.empty()) return std::nullopt;
    auto frame = std::move(inbox.front());
    inbox.pop_front();
    return frame;
  }
  bool send(Frame frame, Millis) override {
    network_.send(
        {.actor = actor_, .incarnation = incarnation_, .to_learner = true, .frame = std::move(frame)});
    return true;
  }

  std::deque<Frame> inbox;

 private:
  Network& network_;
  const int64_t actor_;
  const uint64_t incarnation_;
};

inline transport::Identity identity(const std::string& role, const std::string& name, uint64_t incarnation) {
  return {.run = "simulated",
          .tokenizer_hash = "t",
          .model_hash = "m",
          .role = role,
          .name = name,
          .incarnation = incarnation,
          .pid = 1};
}

}  // namespace sluice::trust
