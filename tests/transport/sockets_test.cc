#include "transport/sockets.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>
#include <zmq.hpp>

#include "base/error.h"
#include "tests/base/taken_port.h"
#include "tests/base/temp_folder.h"

namespace sluice::transport {
namespace {

constexpr Millis kSoon = 10'000;  // a deadline no passing test reaches
constexpr uint64_t kRun = 77;

class Sockets : public testing::Test {
 protected:
  Sockets() : address_("ipc://" + (folder_ / "learner").string()) {}

  // The router's view of a dealer: sends a Hello, returns where it came from.
  std::string meet(RouterSocket& router, DealerSocket& dealer) {
    EXPECT_TRUE(dealer.send({.type = FrameType::Hello, .payload = "hello"}, kSoon));
    const auto received = router.receive(kSoon);
    EXPECT_TRUE(received);
    return received ? received->peer : "";
  }

  const TempFolder folder_;
  std::string address_;
};

// A peer that says what it likes.
struct RawDealer {
  explicit RawDealer(const std::string& address) : socket(context, zmq::socket_type::dealer) {
    socket.set(zmq::sockopt::linger, 1000);
    socket.connect(address);
  }
  void send(const std::string& bytes) { socket.send(zmq::buffer(bytes)); }

  zmq::context_t context;
  zmq::socket_t socket;
};

TEST_F(Sockets, CarryFramesBothWays) {
  RouterSocket router(address_, kRun);
  DealerSocket dealer(address_, kRun);

  ASSERT_TRUE(
      dealer.send({.type = FrameType::Group, .sequence = 5, .payload = std::string(1 << 20, 'g')}, kSoon));
  const auto received = router.receive(kSoon);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->frame.sequence, 5u);
  EXPECT_EQ(received->frame.payload, std::string(1 << 20, 'g'));

  ASSERT_TRUE(router.send(received->peer, {.type = FrameType::Ack, .sequence = 5}));
  const auto answer = dealer.receive(kSoon);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->type, FrameType::Ack);
  EXPECT_EQ(answer->run, kRun);
}

TEST_F(Sockets, ADealerMayComeBeforeItsRouter) {
  DealerSocket dealer(address_, kRun);
  EXPECT_FALSE(dealer.send({.type = FrameType::Hello}, 10));  // nobody is there yet

  RouterSocket router(address_, kRun);
  EXPECT_NE(meet(router, dealer), "");
}

// An actor tells by what it reads in which history the run is: a learner that is no more must not be heard
// after the next one has been.
TEST_F(Sockets, WhatCameOverAConnectionThatHasEndedIsNotRead) {
  std::optional<RouterSocket> router(std::in_place, address_, kRun);
  DealerSocket dealer(address_, kRun);
  const auto peer = meet(*router, dealer);
  for (const uint64_t sequence : {1u, 2u, 3u})
    router->send(peer, {.type = FrameType::Ack, .sequence = sequence});
  EXPECT_EQ(dealer.receive(kSoon)->sequence, 1u);

  router.reset();
  router.emplace(address_, kRun);
  std::optional<Router::Received> hello;
  while (!hello) {  // the first go where nobody is any more
    EXPECT_TRUE(dealer.send({.type = FrameType::Hello, .payload = "hello"}, kSoon));
    hello = router->receive(20);
  }
  router->send(hello->peer, {.type = FrameType::Ack, .sequence = 4});

  EXPECT_EQ(dealer.receive(kSoon)->sequence, 4u);
}

TEST_F(Sockets, TheDescriptorIsReadableWhenAFrameIsThere) {
  RouterSocket router(address_, kRun);
  DealerSocket dealer(address_, kRun);
  meet(router, dealer);
  while (router.receive(0)) {
  }

  ASSERT_TRUE(dealer.send({.type = FrameType::Heartbeat}, kSoon));
  std::optional<RouterSocket::Received> received;
  while (!received) {
    pollfd waiting{router.fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&waiting, 1, kSoon), 1);
    received = router.receive(0);
  }
  EXPECT_EQ(received->frame.type, FrameType::Heartbeat);
}

TEST_F(Sockets, AWaitEndsAtItsDeadline) {
  RouterSocket router(address_, kRun);
  DealerSocket dealer(address_, kRun);

  EXPECT_FALSE(router.receive(20));
  EXPECT_FALSE(dealer.receive(20));
}

TEST_F(Sockets, SendingToAPeerThatIsGoneSaysSo) {
  RouterSocket router(address_, kRun);
  EXPECT_FALSE(router.send("nobody", {.type = FrameType::Stop}));

  auto dealer = std::make_unique<DealerSocket>(address_, kRun);
  const auto peer = meet(router, *dealer);
  dealer.reset();
  const Millis deadline = SteadyClock().now_ms() + kSoon;
  bool sent = true;
  while (sent && SteadyClock().now_ms() < deadline) {
    sent = router.send(peer, {.type = FrameType::Stop});
    router.receive(5);  // lets the socket learn that the connection has ended
  }
  EXPECT_FALSE(sent);
}

TEST_F(Sockets, DropAFrameOfAnotherRunButHearItsHello) {
  RouterSocket router(address_, kRun);
  DealerSocket stranger(address_, kRun + 1);

  ASSERT_TRUE(stranger.send({.type = FrameType::Group}, kSoon));
  const auto peer = meet(router, stranger);
  EXPECT_EQ(router.num_rejected(), 1);

  ASSERT_TRUE(router.send(peer, {.type = FrameType::Ack}));
  ASSERT_TRUE(router.send(peer, {.type = FrameType::Refuse, .payload = "another run"}));
  const auto answer = stranger.receive(kSoon);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->payload, "another run");
  EXPECT_EQ(stranger.num_rejected(), 1);
}

TEST_F(Sockets, ThreeBadFramesInARowAndAPeerIsNotHeardForAWhile) {
  RouterSocket router(address_, kRun);
  RawDealer hostile(address_);
  DealerSocket good(address_, kRun);

  const auto fine = encode_frame({.type = FrameType::Heartbeat, .run = kRun});
  hostile.send("garbage");
  hostile.send("");
  hostile.send(fine);  // two in a row are forgiven
  auto received = router.receive(kSoon);
  ASSERT_TRUE(received);
  const auto peer = received->peer;
  auto broken = fine;
  broken.back() = 'x';
  for (int i = 0; i < 3; ++i) hostile.send(broken);
  hostile.send(fine);

  const Millis deadline = SteadyClock().now_ms() + kSoon;
  while (router.num_rejected() < 6 && SteadyClock().now_ms() < deadline) EXPECT_FALSE(router.receive(5));
  EXPECT_EQ(router.num_rejected(), 6);  // 2, 3 and the good one that came too late
  EXPECT_NE(meet(router, good), peer);

  // What damaged its frames may have passed.
  const Millis again = SteadyClock().now_ms() + kSoon;
  do {
    hostile.send(fine);
    received = router.receive(200);
  } while (!received && SteadyClock().now_ms() < again);
  ASSERT_TRUE(received);
  EXPECT_EQ(received->peer, peer);
}

// A peer that speaks ZMTP 3.0 byte by byte.
class RawRouter {
 public:
  ~RawRouter() { ::close(connection_); }

  std::string address() const { return "tcp://127.0.0.1:" + std::to_string(port_.number()); }

  // Whether somebody connects within the time; then greets it and says that this is a ROUTER.
  bool accept(Millis timeout_ms) {
    pollfd waiting{port_.socket(), POLLIN, 0};
    if (::poll(&waiting, 1, static_cast<int>(timeout_ms)) <= 0) return false;
    ::close(connection_);
    connection_ = ::accept(port_.socket(), nullptr, nullptr);
    const timeval longest{.tv_sec = kSoon / 1000, .tv_usec = 0};
    EXPECT_EQ(::setsockopt(connection_, SOL_SOCKET, SO_RCVTIMEO, &longest, sizeof longest), 0);
    const std::string signature("\xFF\0\0\0\0\0\0\0\0\x7F\3\0", 12);
    say(signature + "NULL" + std::string(48, '\0'));
    say(std::string("\4\x1C\5READY\xBSocket-Type\0\0\0\6ROUTER", 30));
    return true;
  }
  // Until the other side has said this.
  void hear(const std::string& words) const {
    std::string heard;
    char byte = 0;
    while (!heard.ends_with(words) && ::recv(connection_, &byte, 1, 0) == 1) heard += byte;
    EXPECT_TRUE(heard.ends_with(words));
  }
  void say(const std::string& bytes) const {
    EXPECT_EQ(::send(connection_, bytes.data(), bytes.size(), MSG_NOSIGNAL), std::ssize(bytes));
  }

 private:
  const TakenPort port_;
  int connection_ = -1;
};

TEST_F(Sockets, AConnectionThatBadBytesEndedIsMadeAnewWhenItIsAskedFor) {
  RawRouter router;
  DealerSocket dealer(router.address(), kRun);
  const auto answers = [&] {
    dealer.send({.type = FrameType::Hello}, kSoon);
    router.hear("SLCF");
    const auto fine = encode_frame({.type = FrameType::Ack, .run = kRun});
    router.say(std::string(1, '\0') + static_cast<char>(fine.size()) + fine);
    return dealer.receive(kSoon).has_value();
  };
  ASSERT_TRUE(router.accept(kSoon));
  ASSERT_TRUE(answers());

  router.say("\2\x7F" + std::string(7, 'x'));  // a message of 2^63 bytes
  EXPECT_FALSE(router.accept(1'000));          // ZeroMQ gives such a peer up

  dealer.reconnect();
  ASSERT_TRUE(router.accept(kSoon));
  EXPECT_TRUE(answers());
}

TEST_F(Sockets, DropAMessageInParts) {
  RouterSocket router(address_, kRun);
  RawDealer hostile(address_);
  const auto fine = encode_frame({.type = FrameType::Heartbeat, .run = kRun});

  for (int part = 0; part < 9; ++part) hostile.socket.send(zmq::buffer(fine), zmq::send_flags::sndmore);
  hostile.send(fine);
  hostile.send(fine);

  ASSERT_TRUE(router.receive(kSoon));
  EXPECT_EQ(router.num_rejected(), 1);
}

TEST_F(Sockets, AMessageAboveTheLimitIsNeverTakenIn) {
  RouterSocket router("tcp://127.0.0.1:0", kRun);
  RawDealer hostile(router.address());
  DealerSocket good(router.address(), kRun);

  hostile.send(std::string(kFrameHeader + kMaxPayload + 1, 'x'));

  EXPECT_NE(meet(router, good), "");
  EXPECT_FALSE(router.receive(100));
  EXPECT_EQ(router.num_rejected(), 0);
}

TEST_F(Sockets, SurviveAPeerThatSpeaksNoZeroMq) {
  RouterSocket router("tcp://127.0.0.1:0", kRun);
  const auto port =
      static_cast<uint16_t>(std::stoi(router.address().substr(router.address().rfind(':') + 1)));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const std::string garbage = "GET / HTTP/1.1\r\n\r\n" + std::string(4096, '\xff');
  ASSERT_GT(::send(fd, garbage.data(), garbage.size(), MSG_NOSIGNAL), 0);

  DealerSocket good(router.address(), kRun);
  EXPECT_NE(meet(router, good), "");
  ::close(fd);
}

TEST_F(Sockets, APortThatIsTakenIsNamed) {
  const RouterSocket first("tcp://127.0.0.1:0", kRun);
  try {
    RouterSocket second(first.address(), kRun);
    FAIL() << "two listen on " << first.address();
  } catch (const EnvironmentError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("cannot listen on " + first.address()), std::string::npos) << message;
    EXPECT_NE(message.find("choose another port"), std::string::npos) << message;
  }
}

TEST_F(Sockets, LeaveNoFileBehindButThatOfAnother) {
  const auto file = folder_ / "learner";
  auto first = std::make_unique<RouterSocket>(address_, kRun);
  EXPECT_TRUE(std::filesystem::exists(file));
  auto second = std::make_unique<RouterSocket>(address_, kRun);  // takes it over

  first.reset();
  EXPECT_TRUE(std::filesystem::exists(file));
  second.reset();
  EXPECT_FALSE(std::filesystem::exists(file));
}

TEST_F(Sockets, AMissingFolderIsNamed) {
  try {
    RouterSocket router("ipc:///nowhere/at/all", kRun);
    FAIL() << "bound in a folder that does not exist";
  } catch (const EnvironmentError& error) {
    EXPECT_NE(std::string(error.what()).find("ipc:///nowhere/at/all"), std::string::npos) << error.what();
  }
}

TEST_F(Sockets, OnlyThisHostCanBeAddressed) {
  for (const auto* good :
       {"ipc:///tmp/a", "tcp://127.0.0.1:0", "tcp://127.1.2.3:65535", "tcp://localhost:5555"}) {
    EXPECT_NO_THROW(check_address(good)) << good;
  }
  for (const auto* bad :
       {"", "ipc://", "ipc://relative", "ipc://@abstract", "tcp://*:5555", "tcp://0.0.0.0:5555",
        "tcp://10.0.0.1:5555", "tcp://127.0.0.1", "tcp://127.0.0.1:", "tcp://127.0.0.1:65536",
        "tcp://127.0.0.1:-1", "tcp://127.0.0.1.evil:1", "tcp://127.0.0:1", "tcp://127.0.0.256:1",
        "tcp://127.evil.com.x:1", "udp://127.0.0.1:1", "tcp://[::1]:5555"}) {
    EXPECT_THROW(check_address(bad), EnvironmentError) << bad;
  }
  EXPECT_NO_THROW(check_address("ipc:///" + std::string(106, 'a')));
  EXPECT_THROW(check_address("ipc:///" + std::string(107, 'a')), EnvironmentError);
}

TEST_F(Sockets, LocalhostCanBeListenedOn) {
  RouterSocket router("tcp://localhost:0", kRun);
  DealerSocket dealer(router.address(), kRun);

  EXPECT_NE(meet(router, dealer), "");
}

TEST(RunHash, DiffersBetweenRuns) {
  EXPECT_EQ(run_hash("a"), run_hash("a"));
  EXPECT_NE(run_hash("a"), run_hash("b"));
}

}  // namespace
}  // namespace sluice::transport
