// A private redis-server on a unix socket, for a run that names no other.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "base/subprocess.h"

namespace sluice::monitor {

// Started with no port, no persistence and a memory cap; stopped and its socket removed by the destructor.
class RedisServer {
 public:
  // Empty, with a sentence in `why`, when there is no redis-server on PATH or it does not answer in 5 s.
  // A socket path longer than 107 bytes is replaced by a short one; socket() tells which.
  static std::optional<RedisServer> start(const std::filesystem::path& socket,
                                          const std::filesystem::path& log, std::string& why);
  RedisServer(RedisServer&&) = default;
  ~RedisServer();

  const std::filesystem::path& socket() const { return socket_; }
  Subprocess& process() { return process_; }

 private:
  RedisServer(Subprocess process, std::filesystem::path socket)
      : process_(std::move(process)), socket_(std::move(socket)) {}
  Subprocess process_;
  std::filesystem::path socket_;
};

}  // namespace sluice::monitor
