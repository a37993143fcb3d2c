#include "monitor/redis_server.h"

#include <exception>
#include <system_error>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/socket_path.h"
#include "monitor/internal/redis_client.h"

namespace sluice::monitor {
namespace {

namespace fs = std::filesystem;

constexpr Millis kStartTimeout = 5'000;
constexpr Millis kPollEvery = 10;
constexpr Millis kStopGrace = 1'000;

Subprocess start_process(const fs::path& socket, const fs::path& log) {
  // A full memory ends in a refused write, which is reported, not in keys that vanish.
  return Subprocess::start(
      {.command = {"redis-server", "--port", "0", "--unixsocket", socket.string(), "--unixsocketperm", "700",
                   "--save", "", "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy",
                   "noeviction", "--daemonize", "no"},
       .output = log});
}

// "" when the server answers, else why not.
std::string wait_for_answer(Subprocess& process, const fs::path& socket) {
  internal::RedisClient client({.unix_socket = socket.string()});
  const SteadyClock clock;
  const Millis until = clock.now_ms() + kStartTimeout;
  std::string why;
  do {
    if (const auto status = process.wait(kPollEvery)) return "it ended with " + describe(*status);
    why = client.connect();
  } while (!why.empty() && clock.now_ms() < until);
  return why.empty() ? "" : "no answer in 5 s: " + why;
}

}  // namespace

std::optional<RedisServer> RedisServer::start(const fs::path& socket, const fs::path& log, std::string& why) {
  try {
    const auto path = short_socket_path(socket);
    fs::remove(path);  // left by a run that was killed: its server is gone with it
    RedisServer server(start_process(path, log), path);
    why = wait_for_answer(server.process_, path);
    if (why.empty()) return server;
    why = "redis-server on " + path.string() + ": " + why + "; its log is " + log.string();
  } catch (const std::exception& error) {
    why = error.what();
  }
  return std::nullopt;
}

RedisServer::~RedisServer() {
  if (process_.pid() <= 0) return;  // moved away
  try {
    process_.stop(kStopGrace);
    std::error_code ignored;
    fs::remove(socket_, ignored);
  } catch (const std::exception&) {
    // A destructor has nobody to tell; the process is killed with its own destructor.
  }
}

}  // namespace sluice::monitor
