// One connection to Redis whose every wait ends. hiredis formats and parses, the socket is ours: it is closed
// in children, writing to a dead peer raises no signal, and a peer that trickles bytes cannot hold us.
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "monitor/redis_monitor.h"

namespace sluice::monitor::internal {

using RedisCommand = std::vector<std::string>;

struct RedisReply {
  enum class Kind { Text, Integer, Nil, Error, Array };
  Kind kind = Kind::Nil;
  std::string text;  // of Text and Error
  int64_t integer = 0;
  std::vector<RedisReply> elements;  // of Array

  bool is_error() const { return kind == Kind::Error; }
};

// "unix:///run/redis.sock", "host:6379": without user and password.
std::string describe(const RedisAddress& address);

// Where a host name leads: the bytes of its sockaddrs, or why there are none.
struct ResolvedHost {
  std::vector<std::string> addresses;
  std::string problem;
};

// Used by one thread, but for give_up_at().
class RedisClient {
 public:
  explicit RedisClient(RedisAddress address);
  ~RedisClient();
  RedisClient(const RedisClient&) = delete;
  RedisClient& operator=(const RedisClient&) = delete;

  // Connects, authenticates, selects the database and asks for an answer. Returns "" or why not.
  std::string connect();
  bool connected() const { return fd_ >= 0; }
  void close();

  // Sends all the commands and reads a reply for each. When the connection breaks or 200 ms pass without a
  // byte it is closed, `why` says so and nothing is returned.
  std::optional<std::vector<RedisReply>> exchange(const std::vector<RedisCommand>& commands,
                                                  std::string& why);

  // From this time on every wait is over. Safe from any thread.
  void give_up_at(Millis when) { give_up_at_ = when; }

 private:
  std::string open_unix();
  std::string open_tcp();
  std::string login();
  // Milliseconds left for a wait of at most `limit`.
  int left_ms(Millis until) const;

  const RedisAddress address_;
  const SteadyClock clock_;
  std::atomic<Millis> give_up_at_;
  std::future<ResolvedHost> lookup_;  // valid while one goes on, in a thread of its own: it has no deadline
  int fd_ = -1;
};

}  // namespace sluice::monitor::internal
