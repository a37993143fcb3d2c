#include "actors/internal/learner_link.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <utility>

#include "base/error.h"

namespace sluice::actors {
namespace {

using transport::Frame;
using transport::FrameType;

// What a learner said and heard; time passes while nothing comes.
struct Wire {
  ManualClock clock;
  std::deque<Frame> coming;
  std::deque<FrameType> sent;
  int reconnections = 0;

  int64_t num_sent(FrameType type) const { return std::count(sent.begin(), sent.end(), type); }
};

class WireDealer final : public transport::Dealer {
 public:
  explicit WireDealer(Wire& wire) : wire_(wire) {}

  std::optional<Frame> receive(Millis timeout_ms) override {
    if (wire_.coming.empty()) {
      wire_.clock.advance(timeout_ms);
      return std::nullopt;
    }
    auto frame = std::move(wire_.coming.front());
    wire_.coming.pop_front();
    return frame;
  }
  bool send(Frame frame, Millis) override {
    wire_.sent.push_back(frame.type);
    return true;
  }
  void reconnect() override { ++wire_.reconnections; }

 private:
  Wire& wire_;
};

class LearnerLinkTest : public testing::Test {
 protected:
  LearnerLinkTest() {
    wire_.coming.push_back(
        {.type = FrameType::Welcome, .payload = R"({"heartbeat_ms": 1000, "history": 0})"});
    EXPECT_TRUE(link_.next({}, 0));
  }

  void silence(Millis ms) {
    const Millis until = wire_.clock.now_ms() + ms;
    while (wire_.clock.now_ms() < until) link_.next({}, 50);
  }

  Wire wire_;
  LearnerLink link_{{.address = "ipc:///nowhere", .identity = {.role = "actor", .name = "actor-0"}},
                    std::make_unique<WireDealer>(wire_),
                    nullptr,
                    wire_.clock};
};

TEST_F(LearnerLinkTest, MakesASilentConnectionAnewEveryFiveSeconds) {
  silence(4'900);
  EXPECT_EQ(wire_.reconnections, 0);
  silence(200);
  EXPECT_EQ(wire_.reconnections, 1);
  silence(4'700);
  EXPECT_EQ(wire_.reconnections, 1);
  silence(300);
  EXPECT_EQ(wire_.reconnections, 2);

  wire_.coming.push_back({.type = FrameType::Ack});
  silence(4'900);
  EXPECT_EQ(wire_.reconnections, 2);
  EXPECT_THROW(silence(30'000), Error);
}

TEST_F(LearnerLinkTest, AsksForWeightsThatWereLostOnTheirWay) {
  const auto before = wire_.num_sent(FrameType::Hello);
  silence(1'000);
  link_.miss_weights();
  link_.miss_weights();
  EXPECT_EQ(wire_.num_sent(FrameType::Hello), before + 1);

  // The answer begins nothing anew, and brings what was missed.
  wire_.coming.push_back({.type = FrameType::Welcome, .payload = R"({"heartbeat_ms": 1000, "history": 0})"});
  wire_.coming.push_back({.type = FrameType::Weights});
  const auto frame = link_.next({}, 0);
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->type, FrameType::Weights);
}

}  // namespace
}  // namespace sluice::actors
