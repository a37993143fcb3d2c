#include "monitor/redis_server.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include "base/socket_path.h"
#include "tests/monitor/redis_fixture.h"

namespace sluice::monitor {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Sets a variable of the environment for one test.
class WithEnvironment {
 public:
  WithEnvironment(const char* name, const std::string& value) : name_(name), before_(std::getenv(name)) {
    ::setenv(name, value.c_str(), 1);
  }
  ~WithEnvironment() { ::setenv(name_, before_.c_str(), 1); }

 private:
  const char* const name_;
  const std::string before_;
};

// A program named redis-server in a folder of its own.
void write_program(const fs::path& folder, const std::string& text) {
  std::ofstream(folder / "redis-server") << text;
  ::chmod((folder / "redis-server").c_str(), 0755);
}

TEST_F(RedisTest, AServerAnswersForThisUserOnlyAndListensOnNoPort) {
  start_server();
  EXPECT_EQ(ask({"PING"}).text, "PONG");
  EXPECT_EQ(ask({"CONFIG", "GET", "port"}).elements[1].text, "0");
  EXPECT_EQ(ask({"CONFIG", "GET", "save"}).elements[1].text, "");
  EXPECT_EQ(fs::status(socket_).permissions() & fs::perms(0777), fs::perms(0700));
  EXPECT_GT(fs::file_size(folder_.path() / "redis.log"), 0u);
}

TEST_F(RedisTest, AServerLeavesNoProcessAndNoSocketBehind) {
  start_server();
  const pid_t pid = server_->process().pid();
  RedisServer moved = std::move(*server_);
  server_.reset();
  EXPECT_EQ(::kill(pid, 0), 0);  // a moved-from server stops nothing
  { const RedisServer last = std::move(moved); }
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_FALSE(fs::exists(socket_));
}

TEST_F(RedisTest, AFrozenServerIsStoppedToo) {
  start_server();
  const pid_t pid = server_->process().pid();
  server_->process().signal(SIGSTOP);
  server_.reset();
  EXPECT_EQ(::kill(pid, 0), -1);
  EXPECT_FALSE(fs::exists(socket_));
}

TEST_F(RedisTest, ASocketThatADeadServerLeftIsReplaced) {
  start_server();
  server_->process().signal(SIGKILL);
  ASSERT_TRUE(server_->process().wait(5'000));
  ASSERT_TRUE(fs::exists(socket_));
  std::string why;
  const auto next = RedisServer::start(socket_, folder_.path() / "redis.log", why);
  ASSERT_TRUE(next.has_value()) << why;
  EXPECT_EQ(ask({"PING"}).text, "PONG");
}

TEST_F(RedisTest, ALongPathIsReplacedByAShortOne) {
  const auto folder = folder_.path() / std::string(60, 'a') / std::string(60, 'b');
  fs::create_directories(folder);
  std::string why;
  auto server = RedisServer::start(folder / "redis.sock", folder / "redis.log", why);
  ASSERT_TRUE(server.has_value()) << why;
  socket_ = server->socket();
  EXPECT_EQ(socket_, short_socket_path(folder / "redis.sock"));
  EXPECT_LE(socket_.native().size(), 107u);
  EXPECT_EQ(ask({"PING"}).text, "PONG");
  server.reset();
  EXPECT_FALSE(fs::exists(socket_));
}

TEST_F(RedisTest, NoRedisServerOnPathIsAReasonAndNoFailure) {
  const WithEnvironment path("PATH", folder_.path().string());
  std::string why;
  EXPECT_FALSE(RedisServer::start(socket_, folder_.path() / "redis.log", why));
  EXPECT_THAT(why, HasSubstr("cannot start 'redis-server': not found on PATH (" + folder_.path().string()));
}

TEST_F(RedisTest, AServerThatEndsAtOnceIsAReasonWithItsLog) {
  write_program(folder_.path(), "#!/bin/sh\necho no such option\nexit 3\n");
  const WithEnvironment path("PATH", folder_.path().string());
  std::string why;
  EXPECT_FALSE(RedisServer::start(socket_, folder_.path() / "redis.log", why));
  EXPECT_EQ(why, "redis-server on " + socket_.string() + ": it ended with exit 3; its log is " +
                     (folder_.path() / "redis.log").string());
}

TEST_F(RedisTest, AFolderThatIsNotThereIsAReason) {
  std::string why;
  EXPECT_FALSE(RedisServer::start(folder_.path() / "no" / "redis.sock", folder_.path() / "redis.log", why));
  EXPECT_THAT(why, HasSubstr("it ended with exit 1"));
  EXPECT_FALSE(RedisServer::start(socket_, folder_.path() / "no" / "redis.log", why));
  EXPECT_THAT(why, HasSubstr("redis.log"));
}

}  // namespace
}  // namespace sluice::monitor
