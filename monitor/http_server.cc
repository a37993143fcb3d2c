#include "monitor/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iostream>
#include <list>
#include <optional>
#include <stop_token>

#include "base/error.h"
#include "monitor/internal/http_parse.h"

namespace sluice::monitor {
namespace {

constexpr size_t kMaxPending = 4 << 20;  // of a stream whose reader has stopped
constexpr Millis kAcceptPauseMs =
    250;  // without it a process that has no descriptor left would ask on and on
constexpr Millis kHeartbeatMs = 15'000;  // so that a stream whose reader is gone ends

// Of either version; `size` is 0 for what is no address.
struct Address {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

Address parse_address(const std::string& text, int port) {
  Address address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof *v4;
  } else if (inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    address.size = sizeof *v6;
  }
  return address;
}

int port_of(const sockaddr_storage& storage) {
  return ntohs(storage.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port
                                             : reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
}

class Socket {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

int open_listener(const HttpServerOptions& options) {
  const auto where = options.address + ":" + std::to_string(options.port);
  const auto address = parse_address(options.address, options.port);
  require<EnvironmentError>(address.size > 0, "web page: \"", options.address,
                            "\" is no address in numbers, such as 127.0.0.1");
  const int fd = socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  require<EnvironmentError>(fd >= 0, "web page: no socket: ", std::strerror(errno));
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address.storage), address.size) != 0 ||
      listen(fd, SOMAXCONN) != 0) {
    const std::string why = std::strerror(errno);
    close(fd);
    fail<EnvironmentError>("web page: cannot listen at ", where, ": ", why);
  }
  return fd;
}

}  // namespace

bool is_loopback(const std::string& address) {
  in_addr v4{};
  if (inet_pton(AF_INET, address.c_str(), &v4) == 1) return ntohl(v4.s_addr) >> 24 == 127;
  in6_addr v6{};
  return inet_pton(AF_INET6, address.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

class HttpServer::Impl {
 public:
  Impl(const HttpServerOptions& options, Answer answer, News news)
      : options_(options),
        answer_(std::move(answer)),
        news_(std::move(news)),
        listener_(open_listener(options)),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    sockaddr_storage bound{};
    socklen_t size = sizeof bound;
    getsockname(listener_.fd(), reinterpret_cast<sockaddr*>(&bound), &size);
    port_ = port_of(bound);
  }

  int port() const { return port_; }
  void wake() const {
    const uint64_t one = 1;
    [[maybe_unused]] const auto written = write(wake_.fd(), &one, sizeof one);
  }

  void run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      wait();
      const Millis now = clock_.now_ms();
      accept_all(now);
      for (auto& client : clients_) step(client, now);
      if (now - looked_ms_ >= options_.news_ms) tell_news(now);
      std::erase_if(clients_, [&](const Client& client) { return client.gone || is_late(client, now); });
    }
  }

 private:
  struct Client {
    Client(int fd, Millis now) : socket(fd), since_ms(now) {}
    const Socket socket;
    Millis since_ms;      // of the connection, then of the last byte it took
    std::string request;  // as far as it came
    std::string pending;  // to be sent
    size_t sent = 0;      // of it
    bool answered = false, stays = false, gone = false;
  };

  // Nobody keeps a client but by taking what it is sent.
  bool is_late(const Client& client, Millis now) const {
    if (client.stays && client.pending.empty()) return false;
    return now - client.since_ms > (client.answered ? options_.response_ms : options_.request_ms);
  }

  void wait() {
    const bool accepts = clock_.now_ms() >= accept_from_ms_;
    std::vector<pollfd> waits{{wake_.fd(), POLLIN, 0}, {accepts ? listener_.fd() : -1, POLLIN, 0}};
    for (const auto& client : clients_) {
      const bool writes = !client.pending.empty();
      waits.push_back({client.socket.fd(), static_cast<short>(writes ? POLLIN | POLLOUT : POLLIN), 0});
    }
    poll(waits.data(), waits.size(), static_cast<int>(std::min<Millis>(options_.news_ms, 250)));
  }

  void accept_all(Millis now) {
    while (now >= accept_from_ms_) {
      const int fd = accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)) return;
      if (fd < 0) {
        accept_from_ms_ = now + kAcceptPauseMs;
        return say_once(std::string("a client has to wait: ") + std::strerror(errno));
      }
      if (clients_.size() >= options_.max_clients) clients_.pop_front();
      clients_.emplace_back(fd, now);
    }
  }

  void step(Client& client, Millis now) {
    if (!client.answered) {
      read_request(client);
    } else {
      drain(client);
    }
    send_pending(client, now);
  }

  void read_request(Client& client) {
    char bytes[4096];
    while (!client.gone) {
      const auto count = recv(client.socket.fd(), bytes, sizeof bytes, 0);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) break;
      if (count <= 0) {
        client.gone = true;
        return;
      }
      client.request.append(bytes, static_cast<size_t>(count));
      if (client.request.find("\r\n\r\n") != std::string::npos) return answer(client);
      if (client.request.size() > options_.max_request_bytes)
        return respond(client, {.status = 431, .body = "the request is too long\n"});
    }
  }

  // What comes after the request is none of ours; its end is.
  static void drain(Client& client) {
    char bytes[4096];
    const auto count = recv(client.socket.fd(), bytes, sizeof bytes, 0);
    if (count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)) client.gone = true;
  }

  void answer(Client& client) {
    const auto parsed = internal::parse_http_request(client.request);
    if (parsed.status != 200)
      return respond(client, {.status = parsed.status, .body = parsed.problem + "\n"});
    try {
      respond(client, answer_(parsed.request));
    } catch (const std::exception& error) {
      std::cerr << "sluice: web page: " << parsed.request.path << ": " << error.what() << '\n';
      respond(client, {.status = 500, .body = std::string(error.what()) + "\n"});
    }
  }

  static void respond(Client& client, const HttpResponse& response) {
    client.answered = true;
    client.stays = response.stays;
    client.request.clear();
    client.pending = internal::http_text(response);
  }

  static void send_pending(Client& client, Millis now) {
    while (!client.gone && client.sent < client.pending.size()) {
      const auto count = send(client.socket.fd(), client.pending.data() + client.sent,
                              client.pending.size() - client.sent, MSG_NOSIGNAL);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (count <= 0) {
        client.gone = true;
        return;
      }
      client.sent += static_cast<size_t>(count);
      client.since_ms = now;
    }
    if (!client.answered) return;
    client.pending.clear();
    client.sent = 0;
    if (client.stays) return;
    shutdown(client.socket.fd(), SHUT_WR);
    client.gone = true;
  }

  void tell_news(Millis now) {
    looked_ms_ = now;
    const auto follows = [](const Client& client) { return client.stays && !client.gone; };
    if (std::ranges::none_of(clients_, follows)) return;
    std::string text;
    try {
      text = news_();
    } catch (const std::exception& error) {
      say_once(error.what());
    }
    if (text.empty() && now - told_ms_ >= kHeartbeatMs) text = ": still here\n\n";
    if (text.empty()) return;
    told_ms_ = now;
    for (auto& client : clients_) {
      if (!follows(client)) continue;
      if (client.pending.empty()) client.since_ms = now;
      client.pending += text;
      if (client.pending.size() > kMaxPending) client.gone = true;
      send_pending(client, now);
    }
  }

  // What goes on is said when it begins.
  void say_once(const std::string& problem) {
    if (problem != last_problem_) std::cerr << "sluice: web page: " << problem << '\n';
    last_problem_ = problem;
  }

  const HttpServerOptions options_;
  const Answer answer_;
  const News news_;
  const Socket listener_, wake_;
  const SteadyClock clock_;
  int port_ = 0;
  std::list<Client> clients_;  // in the order in which they came
  Millis looked_ms_ = 0, told_ms_ = 0, accept_from_ms_ = 0;
  std::string last_problem_;
};

HttpServer::HttpServer(const HttpServerOptions& options, Answer answer, News news)
    : impl_(std::make_unique<Impl>(options, std::move(answer), std::move(news))),
      thread_([this](const std::stop_token& stop) { impl_->run(stop); }) {}

HttpServer::~HttpServer() {
  thread_.request_stop();
  impl_->wake();
}

int HttpServer::port() const { return impl_->port(); }

}  // namespace sluice::monitor
