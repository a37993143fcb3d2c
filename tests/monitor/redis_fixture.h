// A real redis-server on a unix socket of a temporary folder, and what a person would ask it.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "monitor/internal/redis_client.h"
#include "monitor/redis_monitor.h"
#include "monitor/redis_server.h"
#include "tests/base/temp_folder.h"

namespace sluice::monitor {

// Asks until it is so; the other process tells nobody when it is done.
inline bool becomes_true(const std::function<bool()>& condition, Millis timeout_ms = 20'000) {
  const SteadyClock clock;
  for (const Millis until = clock.now_ms() + timeout_ms; clock.now_ms() < until;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

// What XINFO GROUPS says about the group `learner`; -1 stands for nil.
struct GroupInfo {
  int64_t length = -1;
  int64_t lag = -1;
  int64_t pending = -1;
  bool operator==(const GroupInfo&) const = default;
};
inline void PrintTo(const GroupInfo& info, std::ostream* out) {
  *out << "{length " << info.length << ", lag " << info.lag << ", pending " << info.pending << "}";
}

class RedisTest : public testing::Test {
 protected:
  using Reply = internal::RedisReply;

  void start_server() {
    server_.reset();
    std::string why;
    auto started = RedisServer::start(socket_, folder_.path() / "redis.log", why);
    ASSERT_TRUE(started.has_value()) << why;
    server_.emplace(std::move(*started));
  }

  RedisAddress address() const { return {.unix_socket = socket_.string()}; }

  // A connection of its own for each question. An unanswered one is asked again, since this machine may be
  // busy.
  Reply ask(const internal::RedisCommand& command) const {
    Reply reply;
    becomes_true([&] {
      internal::RedisClient client(address());
      std::string why;
      if (!client.connect().empty()) return false;
      const auto replies = client.exchange({command}, why);
      if (replies) reply = replies->front();
      return replies.has_value();
    });
    return reply;
  }

  std::map<std::string, std::string> hash(const std::string& key) const {
    std::map<std::string, std::string> out;
    const auto reply = ask({"HGETALL", key});
    for (size_t i = 0; i + 1 < reply.elements.size(); i += 2)
      out[reply.elements[i].text] = reply.elements[i + 1].text;
    return out;
  }

  // The field `name` of every entry of a stream.
  std::vector<std::string> column(const std::string& key, const std::string& name) const {
    std::vector<std::string> out;
    for (const auto& entry : ask({"XRANGE", key, "-", "+"}).elements) {
      const auto& fields = entry.elements[1].elements;
      for (size_t i = 0; i + 1 < fields.size(); i += 2) {
        if (fields[i].text == name) out.push_back(fields[i + 1].text);
      }
    }
    return out;
  }

  GroupInfo group_info(const std::string& run = "r") const {
    const auto key = "sluice:{" + run + "}:rollouts";
    GroupInfo info{.length = ask({"XLEN", key}).integer};
    const auto reply = ask({"XINFO", "GROUPS", key});
    if (reply.elements.size() != 1) return info;
    const auto& fields = reply.elements[0].elements;
    for (size_t i = 0; i + 1 < fields.size(); i += 2) {
      if (fields[i + 1].kind != Reply::Kind::Integer) continue;
      if (fields[i].text == "lag") info.lag = fields[i + 1].integer;
      if (fields[i].text == "pending") info.pending = fields[i + 1].integer;
    }
    return info;
  }

  // The groups that were read and not acknowledged, in the order of the stream.
  std::vector<std::string> pending_groups() const {
    std::vector<std::string> out;
    for (const auto& pending :
         ask({"XPENDING", "sluice:{r}:rollouts", "learner", "-", "+", "100"}).elements) {
      const auto id = pending.elements[0].text;
      const auto found = ask({"XRANGE", "sluice:{r}:rollouts", id, id});
      if (found.elements.empty()) continue;
      const auto& fields = found.elements[0].elements[1].elements;
      for (size_t i = 0; i + 1 < fields.size(); i += 2) {
        if (fields[i].text == "group") out.push_back(fields[i + 1].text);
      }
    }
    return out;
  }

  TempFolder folder_;
  std::filesystem::path socket_ = folder_.path() / "redis.sock";
  std::optional<RedisServer> server_;
};

inline std::vector<QueuedRollout> rollouts(uint64_t first, uint64_t last) {
  std::vector<QueuedRollout> out;
  for (uint64_t group = first; group <= last; ++group) out.push_back({group, {{"reward", "0.5"}}});
  return out;
}

}  // namespace sluice::monitor
