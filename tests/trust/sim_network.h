// A network that loses, doubles and reorders frames and cuts actors off, and its ends as the protocol has
// them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "buffers/rollout_group.h"
#include "tests/trust/sim_random.h"
#include "transport/handshake.h"
#include "transport/sockets.h"

namespace sluice::trust {

using transport::Frame;
using transport::FrameType;

inline constexpr int64_t kActors = 3;

// A frame under way. It belongs to the connection between two processes and ends with either of them.
struct Packet {
  int64_t actor = 0;  // who sends or is to get it
  uint64_t incarnation = 0;
  uint64_t epoch = 0;  // of the learner's process
  bool to_learner = false;
  Frame frame;
};

class Network {
 public:
  // `now` is nobody's clock: by it partitions end.
  Network(SimRandom& random, const Millis& now) : random_(random), now_(now) {}

  double loses = 0, doubles = 0;  // shares of the frames
  bool reorders = false;
  uint64_t epoch = 0;  // of the learner's process that listens; 0: none does
  // Is told of each lease that is sent, whether or not it arrives.
  std::function<void(int64_t actor, uint64_t incarnation, uint64_t group)> on_lease;

  int64_t num_lost = 0, num_doubled = 0, num_reordered = 0;

  // What an actor sends, what it is sent, or both are lost until then.
  void cut(int64_t actor, Millis until, bool from_it, bool to_it) {
    cuts_[static_cast<size_t>(actor)] = {.until = until, .from_it = from_it, .to_it = to_it};
  }
  void mend() {
    loses = doubles = 0;
    reorders = false;
    cuts_ = {};
  }

  void send(Packet packet) {
    if (packet.frame.type == FrameType::Lease && on_lease) {
      on_lease(packet.actor, packet.incarnation, buffers::decode_lease(packet.frame.payload).group);
    }
    if (is_cut(packet) || random_.chance(loses)) {
      ++num_lost;
      return;
    }
    if (random_.chance(doubles)) {
      ++num_doubled;
      packets_.push_back(packet);
    }
    packets_.push_back(std::move(packet));
  }

  // The next one, or any.
  std::optional<Packet> take() {
    if (packets_.empty()) return std::nullopt;
    const int64_t at = reorders ? random_.below(std::ssize(packets_)) : 0;
    if (at > 0) ++num_reordered;
    auto packet = std::move(packets_[static_cast<size_t>(at)]);
    packets_.erase(packets_.begin() + at);
    if (packet.to_learner && packet.frame.type == FrameType::Hello) forget_older(packet, at);
    if (!is_cut(packet)) return packet;
    ++num_lost;
    return std::nullopt;
  }

  size_t num_under_way() const { return packets_.size(); }

 private:
  struct Cut {
    Millis until = 0;
    bool from_it = false, to_it = false;
  };

  bool is_cut(const Packet& packet) const {
    const auto& cut = cuts_[static_cast<size_t>(packet.actor)];
    return now_ < cut.until && (packet.to_learner ? cut.from_it : cut.to_it);
  }

  // What a process has sent before a Hello comes before it or never, as on the one connection that it has;
  // and no process that has ended says Hello after the one that replaces it.
  void forget_older(const Packet& hello, int64_t at) {
    const auto is_older = [&](const Packet& other) {
      return other.to_learner && other.actor == hello.actor &&
             (other.incarnation == hello.incarnation || other.frame.type == FrameType::Hello);
    };
    const auto end = packets_.begin() + at;
    packets_.erase(std::remove_if(packets_.begin(), end, is_older), end);
  }

  SimRandom& random_;
  const Millis& now_;
  std::deque<Packet> packets_;  // in the order of their sending
  std::array<Cut, kActors> cuts_;
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
                   .epoch = epoch_,
                   .to_learner = false,
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
    if (network_.epoch == 0) return false;  // nobody is there
    network_.send({.actor = actor_,
                   .incarnation = incarnation_,
                   .epoch = network_.epoch,
                   .to_learner = true,
                   .frame = std::move(frame)});
    return true;
  }
  void reconnect() override { inbox.clear(); }

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
