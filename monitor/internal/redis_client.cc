#include "monitor/internal/redis_client.h"

#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <string_view>
#include <system_error>
#include <thread>

namespace sluice::monitor::internal {
namespace {

constexpr Millis kConnectTimeout = 200;
constexpr Millis kSilence = 200;           // without a byte either way
constexpr Millis kExchangeTimeout = 2000;  // for a whole exchange, however the bytes trickle
constexpr Millis kLookupTimeout = 1000;
constexpr Millis kLookupSlice = 50;
constexpr size_t kMaxAddresses = 4;
constexpr size_t kMaxReplyBytes = size_t{64} << 20;
constexpr int kMaxReplyDepth = 8;

using Reader = std::unique_ptr<redisReader, decltype(&redisReaderFree)>;
using RawReply = std::unique_ptr<::redisReply, decltype(&freeReplyObject)>;

std::string errno_text(int number) { return std::generic_category().message(number); }

ResolvedHost resolve(const std::string& host, int port, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  ResolvedHost out;
  if (error != 0) {
    out.problem = std::string("the name cannot be resolved: ") + ::gai_strerror(error);
    return out;
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
  for (const addrinfo* entry = found; entry != nullptr && out.addresses.size() < kMaxAddresses;
       entry = entry->ai_next) {
    out.addresses.emplace_back(reinterpret_cast<const char*>(entry->ai_addr), entry->ai_addrlen);
  }
  return out;
}

// A non-blocking connection, or -1 with the reason. `address` is the bytes of a sockaddr.
int open_socket(const std::string& address, int timeout_ms, std::string& why) {
  sockaddr_storage storage{};
  std::memcpy(&storage, address.data(), std::min(address.size(), sizeof storage));
  const auto size = static_cast<socklen_t>(address.size());
  const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  int error = fd < 0 ? errno : 0;
  if (fd >= 0 && ::connect(fd, reinterpret_cast<const sockaddr*>(&storage), size) != 0) error = errno;
  if (error == EINPROGRESS) {
    pollfd entry{.fd = fd, .events = POLLOUT, .revents = 0};
    socklen_t length = sizeof error;
    error = ETIMEDOUT;
    if (::poll(&entry, 1, timeout_ms) > 0) ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  }
  if (error == 0) return fd;
  // A unix socket whose server accepts nobody any more answers with this one.
  why = error == EAGAIN ? "its queue of connections is full" : errno_text(error);
  if (fd >= 0) ::close(fd);
  return -1;
}

std::string formatted(const std::vector<RedisCommand>& commands) {
  std::string out;
  for (const auto& command : commands) {
    std::vector<const char*> words;
    std::vector<size_t> sizes;
    for (const auto& word : command) {
      words.push_back(word.data());
      sizes.push_back(word.size());
    }
    char* text = nullptr;
    const int size =
        redisFormatCommandArgv(&text, static_cast<int>(words.size()), words.data(), sizes.data());
    if (size <= 0) throw std::bad_alloc();
    out.append(text, static_cast<size_t>(size));
    redisFreeCommand(text);
  }
  return out;
}

RedisReply converted(const ::redisReply& raw, int depth) {
  RedisReply out;
  switch (raw.type) {
    case REDIS_REPLY_ERROR:
      out.kind = RedisReply::Kind::Error;
      out.text.assign(raw.str, raw.len);
      break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      out.kind = RedisReply::Kind::Text;
      out.text.assign(raw.str, raw.len);
      break;
    case REDIS_REPLY_INTEGER:
      out.kind = RedisReply::Kind::Integer;
      out.integer = raw.integer;
      break;
    case REDIS_REPLY_ARRAY:
      out.kind = RedisReply::Kind::Array;
      for (size_t i = 0; i < raw.elements && depth < kMaxReplyDepth; ++i) {
        out.elements.push_back(converted(*raw.element[i], depth + 1));
      }
      break;
    default:
      break;
  }
  return out;
}

// The replies that have come whole are moved to `replies`. False when what came is not Redis.
bool take_replies(redisReader* reader, std::vector<RedisReply>& replies) {
  while (true) {
    void* raw = nullptr;
    if (redisReaderGetReply(reader, &raw) != REDIS_OK) return false;
    if (raw == nullptr) return true;
    const RawReply owner(static_cast<::redisReply*>(raw), freeReplyObject);
    replies.push_back(converted(*owner, 0));
  }
}

// Sends what the socket takes. False with the reason when the connection is broken.
bool send_some(int fd, std::string_view& unsent, std::string& why) {
  const ssize_t n = ::send(fd, unsent.data(), unsent.size(), MSG_NOSIGNAL);
  if (n >= 0) unsent.remove_prefix(static_cast<size_t>(n));
  if (n >= 0 || errno == EAGAIN || errno == EINTR) return true;
  why = errno_text(errno);
  return false;
}

// Reads what is there into the reader. False with the reason when the connection is broken.
bool receive_some(int fd, redisReader* reader, size_t& received, std::string& why) {
  std::array<char, 16384> bytes;
  const ssize_t n = ::recv(fd, bytes.data(), bytes.size(), 0);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (n <= 0) {
    why = n == 0 ? "it closed the connection" : errno_text(errno);
    return false;
  }
  received += static_cast<size_t>(n);
  if (received <= kMaxReplyBytes &&
      redisReaderFeed(reader, bytes.data(), static_cast<size_t>(n)) == REDIS_OK) {
    return true;
  }
  why = "its answer is too large";
  return false;
}

}  // namespace

std::string describe(const RedisAddress& address) {
  if (!address.unix_socket.empty()) return "unix://" + address.unix_socket;
  const bool bracketed = address.host.find(':') != std::string::npos;
  return (bracketed ? "[" + address.host + "]" : address.host) + ":" + std::to_string(address.port);
}

RedisClient::RedisClient(RedisAddress address)
    : address_(std::move(address)), give_up_at_(std::numeric_limits<Millis>::max()) {}

RedisClient::~RedisClient() { close(); }

void RedisClient::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

int RedisClient::left_ms(Millis until) const {
  return static_cast<int>(std::max<Millis>(0, std::min(until, give_up_at_.load()) - clock_.now_ms()));
}

std::string RedisClient::connect() {
  close();
  std::string why;
  try {
    why = address_.unix_socket.empty() ? open_tcp() : open_unix();
  } catch (const std::system_error& error) {
    why = error.what();  // no thread for the look-up
  }
  if (why.empty()) why = login();
  if (!why.empty()) close();
  return why;
}

std::string RedisClient::open_unix() {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const auto& path = address_.unix_socket;
  if (path.size() >= sizeof address.sun_path) return "the path of the socket is longer than 107 bytes";
  std::memcpy(address.sun_path, path.data(), path.size());
  std::string why;
  const std::string bytes(reinterpret_cast<const char*>(&address), sizeof address);
  fd_ = open_socket(bytes, left_ms(clock_.now_ms() + kConnectTimeout), why);
  return why;
}

std::string RedisClient::open_tcp() {
  auto resolved = resolve(address_.host, address_.port, AI_NUMERICHOST);
  if (!resolved.problem.empty()) {
    if (!lookup_.valid()) {
      std::promise<ResolvedHost> promise;
      auto future = promise.get_future();
      std::thread([promise = std::move(promise), host = address_.host, port = address_.port]() mutable {
        promise.set_value(resolve(host, port, 0));
      }).detach();
      lookup_ = std::move(future);
    }
    const Millis until = clock_.now_ms() + kLookupTimeout;
    while (lookup_.wait_for(std::chrono::milliseconds(std::min<Millis>(kLookupSlice, left_ms(until)))) !=
           std::future_status::ready) {
      if (left_ms(until) == 0) return "waited 1 s for its name to be resolved";
    }
    resolved = lookup_.get();
  }
  std::string why = resolved.problem;
  for (const auto& address : resolved.addresses) {
    fd_ = open_socket(address, left_ms(clock_.now_ms() + kConnectTimeout), why);
    if (fd_ >= 0) return "";
  }
  return why;
}

std::string RedisClient::login() {
  std::vector<RedisCommand> commands;
  if (!address_.password.empty()) {
    auto& auth = commands.emplace_back(RedisCommand{"AUTH"});
    if (!address_.username.empty()) auth.push_back(address_.username);
    auth.push_back(address_.password);
  }
  if (address_.database != 0) commands.push_back({"SELECT", std::to_string(address_.database)});
  commands.push_back({"PING"});
  std::string why;
  const auto replies = exchange(commands, why);
  if (!replies) return why;
  for (const auto& reply : *replies) {
    if (reply.is_error()) return reply.text;
  }
  return "";
}

std::optional<std::vector<RedisReply>> RedisClient::exchange(const std::vector<RedisCommand>& commands,
                                                             std::string& why) {
  const std::string bytes = formatted(commands);
  std::string_view unsent = bytes;
  const Reader reader(redisReaderCreate(), redisReaderFree);
  std::vector<RedisReply> replies;
  size_t received = 0;
  const Millis until = clock_.now_ms() + kExchangeTimeout;
  why.clear();
  while (replies.size() < commands.size() && why.empty()) {
    pollfd entry{.fd = fd_, .events = POLLIN, .revents = 0};
    if (!unsent.empty()) entry.events |= POLLOUT;
    const int wait_ms = left_ms(std::min(until, clock_.now_ms() + kSilence));
    // At the deadline it is over even though bytes still trickle in.
    const int ready = wait_ms > 0 ? ::poll(&entry, 1, wait_ms) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      why = "waited " + std::to_string(kSilence) + " ms for its answer";
    } else if ((entry.revents & POLLOUT) != 0 && !send_some(fd_, unsent, why)) {
      break;
    } else if ((entry.revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
               receive_some(fd_, reader.get(), received, why) && !take_replies(reader.get(), replies)) {
      why = "its answer is not the Redis protocol";
    }
  }
  if (why.empty() && replies.size() == commands.size()) return replies;
  if (why.empty()) why = "it sent more answers than it was asked for";
  close();
  return std::nullopt;
}

}  // namespace sluice::monitor::internal
