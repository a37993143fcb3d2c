#include "monitor/internal/redis_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "tests/monitor/redis_fixture.h"

namespace sluice::monitor::internal {
namespace {

// Accepts one connection and answers whatever comes with `answer`, a byte every `pause_ms`, until the peer is
// gone.
class OddServer {
 public:
  OddServer(const std::filesystem::path& path, std::string answer, int pause_ms)
      : listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(listener_, 1), 0);
    thread_ = std::thread([this, answer = std::move(answer), pause_ms] {
      const int peer = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      for (const char byte : answer) {
        if (::send(peer, &byte, 1, MSG_NOSIGNAL) != 1) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
      }
      ::shutdown(peer, SHUT_WR);
      // Closing with unread bytes would reset the connection and take the answer along.
      for (char byte = 0; ::recv(peer, &byte, 1, 0) > 0;) continue;
      ::close(peer);
    });
  }
  ~OddServer() {
    thread_.join();
    ::close(listener_);
  }

 private:
  const int listener_;
  std::thread thread_;
};

class RedisClientTest : public RedisTest {};

TEST_F(RedisClientTest, AnswersComeInTheOrderOfTheCommandsWhateverTheirSize) {
  start_server();
  RedisClient client(address());
  ASSERT_EQ(client.connect(), "");
  // Far more than the buffers of the socket hold in either direction; bytes of any kind.
  const std::string big(1 << 20, '\0');
  std::vector<RedisCommand> commands;
  for (int i = 0; i < 8; ++i) commands.push_back({"SET", "k" + std::to_string(i), big + std::to_string(i)});
  for (int i = 0; i < 8; ++i) commands.push_back({"GET", "k" + std::to_string(i)});
  commands.push_back({"GET", "none"});
  commands.push_back({"NO SUCH COMMAND"});

  std::string why;
  const auto replies = client.exchange(commands, why);

  ASSERT_TRUE(replies) << why;
  ASSERT_EQ(replies->size(), 18u);
  EXPECT_EQ((*replies)[0].text, "OK");
  EXPECT_TRUE((*replies)[15].text == big + "7");
  EXPECT_EQ((*replies)[16].kind, RedisReply::Kind::Nil);
  EXPECT_TRUE((*replies)[17].is_error());
}

TEST_F(RedisClientTest, ItsSocketIsNotInherited) {
  start_server();
  const auto descriptors = [] {
    std::vector<int> out;
    for (int fd = 0; fd < 256; ++fd) {
      const int flags = ::fcntl(fd, F_GETFD);
      if (flags >= 0 && (flags & FD_CLOEXEC) == 0) out.push_back(fd);
    }
    return out;
  };
  const auto before = descriptors();
  RedisClient client(address());
  ASSERT_EQ(client.connect(), "");
  EXPECT_EQ(descriptors(), before);
}

TEST_F(RedisClientTest, WhatDoesNotSpeakRedisIsSaidSo) {
  const OddServer server(socket_, "HTTP/1.1 400 Bad Request\r\n\r\n", 0);
  RedisClient client(address());
  EXPECT_EQ(client.connect(), "its answer is not the Redis protocol");
  EXPECT_FALSE(client.connected());
}

TEST_F(RedisClientTest, AServerThatHangsUpIsSaidSo) {
  const OddServer server(socket_, "", 0);
  RedisClient client(address());
  EXPECT_EQ(client.connect(), "it closed the connection");
}

TEST_F(RedisClientTest, AnAnswerThatTricklesIsWaitedForNoLongerThanTheDeadline) {
  const OddServer server(socket_, "$1000\r\n" + std::string(1000, 'x'), 20);
  RedisClient client(address());
  const SteadyClock clock;
  const Millis started = clock.now_ms();
  client.give_up_at(started + 300);
  EXPECT_NE(client.connect(), "");
  EXPECT_GE(clock.now_ms() - started, 290);
  EXPECT_LT(clock.now_ms() - started, 1'500);
}

TEST_F(RedisClientTest, APathThatTheSystemCannotTakeIsRefused) {
  RedisClient client({.unix_socket = "/" + std::string(107, 'a')});
  EXPECT_EQ(client.connect(), "the path of the socket is longer than 107 bytes");
}

TEST(RedisAddress, IsDescribedWithoutItsPassword) {
  EXPECT_EQ(describe({.unix_socket = "/run/r.sock", .password = "secret"}), "unix:///run/r.sock");
  EXPECT_EQ(describe({.host = "::1", .port = 7, .username = "ada", .password = "secret"}), "[::1]:7");
}

}  // namespace
}  // namespace sluice::monitor::internal
