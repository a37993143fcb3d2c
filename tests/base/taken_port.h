// Ports of loopback: one that this process listens to, so that nobody else can, and one that is free.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace sluice {

class TakenPort {
 public:
  // 0: any. Throws when it is taken already.
  explicit TakenPort(uint16_t number = 0) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{
        .sin_family = AF_INET, .sin_port = htons(number), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    auto* const at = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    if (::bind(socket_, at, size) != 0 || ::listen(socket_, 8) != 0 ||
        ::getsockname(socket_, at, &size) != 0) {
      ::close(socket_);
      throw std::runtime_error("port " + std::to_string(number) + " of loopback is taken");
    }
    number_ = ntohs(address.sin_port);
  }
  TakenPort(const TakenPort&) = delete;
  TakenPort& operator=(const TakenPort&) = delete;
  ~TakenPort() { ::close(socket_); }

  int number() const { return number_; }
  int socket() const { return socket_; }

 private:
  const int socket_;
  int number_ = 0;
};

// Below those that the system gives to whoever asks for any; another for each process and call.
inline int free_port() {
  constexpr int kFirst = 20'000, kPorts = 12'000;
  static int next = ::getpid();
  for (int tries = 0; tries < kPorts; ++tries) {
    try {
      return TakenPort(static_cast<uint16_t>(kFirst + next++ % kPorts)).number();
    } catch (const std::runtime_error&) {
      continue;
    }
  }
  throw std::runtime_error("no port of loopback is free");
}

}  // namespace sluice
