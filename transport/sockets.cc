#include "transport/sockets.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <zmq.hpp>

#include "base/error.h"
#include "base/files.h"

namespace sluice::transport {
namespace {

constexpr std::string_view kIpc = "ipc://";
constexpr size_t kMaxIpcPath = 107;      // sockaddr_un holds 108 bytes, the last one is zero
constexpr int kStrikes = 3;              // bad frames in a row before a peer is ignored for a while,
constexpr Millis kDeafMs = 5'000;        // this long: what damaged its frames may have passed
constexpr size_t kMaxRemembered = 4096;  // peers with strikes; a hostile one can call itself anything
constexpr int kMaxRejectedAtOnce = 256;  // then receive() returns, so that a flood cannot hold its caller
constexpr int kQueueFrames = 1000;       // above the credit an actor can have, so that it is never reached
// Longer than the time after which the learner gives up an actor (RolloutServerOptions): a connection that
// ends takes the frames on their way with it, which then were given up before.
constexpr int kSilentConnectionMs = 10'000;

[[noreturn]] void malformed(const std::string& address, const std::string& why) {
  fail<EnvironmentError>("the address \"", address, "\" cannot be used: ", why,
                         "; write ipc:///folder/name or tcp://127.0.0.1:PORT");
}

bool is_number_up_to(std::string_view text, int most) {
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 && value <= most;
}

bool is_loopback(std::string_view host) {
  if (host == "localhost") return true;
  if (!host.starts_with("127.") || std::count(host.begin(), host.end(), '.') != 3) return false;
  for (int part = 0; part < 4; ++part) {
    const auto end = std::min(host.find('.'), host.size());
    if (!is_number_up_to(host.substr(0, end), 255)) return false;
    host.remove_prefix(std::min(end + 1, host.size()));
  }
  return true;
}

// ZeroMQ takes names of interfaces, not of hosts, where it listens.
std::string endpoint(const std::string& address) {
  constexpr std::string_view kLocalhost = "tcp://localhost:";
  if (!address.starts_with(kLocalhost)) return address;
  return "tcp://127.0.0.1:" + address.substr(kLocalhost.size());
}

// Older ones let a peer write past a buffer before it has said who it is (CVE-2019-13132, CVE-2020-15166).
void check_library() {
  const auto [major, minor, patch] = zmq::version();
  require<EnvironmentError>(std::make_tuple(major, minor, patch) >= std::make_tuple(4, 3, 3),
                            "ZeroMQ 4.3.3 or later is needed, this is ", major, ".", minor, ".", patch);
}

zmq::socket_t make_socket(zmq::context_t& context, zmq::socket_type type) {
  zmq::socket_t socket(context, type);
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(kFrameHeader + kMaxPayload));
  socket.set(zmq::sockopt::sndhwm, kQueueFrames);
  socket.set(zmq::sockopt::rcvhwm, kQueueFrames);
  socket.set(zmq::sockopt::handshake_ivl, 5'000);
  socket.set(zmq::sockopt::heartbeat_ivl, 1'000);
  socket.set(zmq::sockopt::heartbeat_timeout, kSilentConnectionMs);
  socket.set(zmq::sockopt::heartbeat_ttl, kSilentConnectionMs);
  return socket;
}

using FileId = std::pair<dev_t, ino_t>;

std::optional<FileId> file_at(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return std::nullopt;
  return FileId(status.st_dev, status.st_ino);
}

Millis now_ms() { return SteadyClock().now_ms(); }

// Waits until `events` or the deadline; false at the deadline. A wait that a signal ends is taken up again.
bool wait_for(zmq::socket_t& socket, short events, Millis deadline) {
  while (true) {
    const Millis left = std::max<Millis>(0, deadline - now_ms());
    zmq::pollitem_t item{socket.handle(), 0, events, 0};
    try {
      if (zmq::poll(&item, 1, std::chrono::milliseconds(left)) > 0) return true;
    } catch (const zmq::error_t& error) {
      if (error.num() != EINTR) throw;
    }
    if (left == 0) return false;
  }
}

// One message of all its parts, or empty when there is none now.
std::vector<zmq::message_t> receive_parts(zmq::socket_t& socket) {
  std::vector<zmq::message_t> parts;
  do {
    zmq::message_t part;
    if (!socket.recv(part, zmq::recv_flags::dontwait)) break;
    if (parts.size() < 3)
      parts.push_back(std::move(part));  // two are wanted, a third shows that it is malformed
  } while (socket.get(zmq::sockopt::rcvmore));
  return parts;
}

std::string_view view(const zmq::message_t& part) { return {part.data<char>(), part.size()}; }

// Short, unique on this host, and not starting with the zero byte that ZeroMQ keeps for its own names.
std::string routing_id() {
  std::random_device random;
  std::ostringstream id;
  id << "a" << ::getpid() << "-" << std::hex << random() << random();
  return id.str();
}

}  // namespace

void check_address(const std::string& address) {
  constexpr std::string_view kTcp = "tcp://";
  if (address.starts_with(kIpc)) {
    const auto path = address.substr(kIpc.size());
    if (!path.starts_with('/')) malformed(address, "the path of a socket must be absolute");
    if (path.size() > kMaxIpcPath) {
      malformed(address, "its path has " + std::to_string(path.size()) + " bytes, a unix socket's at most " +
                             std::to_string(kMaxIpcPath));
    }
    return;
  }
  if (!address.starts_with(kTcp)) malformed(address, "it is neither ipc:// nor tcp://");
  const auto rest = address.substr(kTcp.size());
  const auto colon = rest.rfind(':');
  if (colon == std::string::npos || !is_number_up_to(std::string_view(rest).substr(colon + 1), 65535)) {
    malformed(address, "it has no port between 0 and 65535");
  }
  if (!is_loopback(std::string_view(rest).substr(0, colon))) {
    malformed(address,
              rest.substr(0, colon) + " is not an address of this host alone (127.x.x.x, localhost)");
  }
}

uint64_t run_hash(const std::string& run_id) {
  return std::stoull(sha256_hex(run_id).substr(0, 16), nullptr, 16);
}

struct RouterSocket::Impl {
  explicit Impl(uint64_t the_run) : run(the_run), socket(make_socket(context, zmq::socket_type::router)) {}

  // The frame of one message, or empty when it was counted as rejected.
  std::optional<Received> accept(std::vector<zmq::message_t>& parts) {
    std::string peer(view(parts.front()));
    const auto strike = strikes.find(peer);
    if (strike != strikes.end() && now_ms() < strike->second.deaf_until) {
      ++rejected;
      return std::nullopt;
    }
    if (parts.size() != 2) return reject(peer);
    auto decoded = decode_frame(view(parts[1]));
    if (!decoded.frame) return reject(peer);
    if (decoded.frame->run != run && decoded.frame->type != FrameType::Hello) return reject(peer);
    if (strike != strikes.end()) strikes.erase(strike);
    return Received{std::move(peer), std::move(*decoded.frame)};
  }

  std::nullopt_t reject(const std::string& peer) {
    ++rejected;
    if (strikes.size() >= kMaxRemembered && !strikes.contains(peer)) strikes.erase(strikes.begin());
    auto& [in_a_row, deaf_until] = strikes[peer];
    in_a_row = std::min(in_a_row + 1, kStrikes);
    if (in_a_row == kStrikes) deaf_until = now_ms() + kDeafMs;
    return std::nullopt;
  }

  // ZeroMQ leaves the file of an ipc address behind. One that another has bound there since is not ours.
  void remember_file() {
    if (address.starts_with(kIpc)) file = file_at(address.substr(kIpc.size()));
  }
  void unlink_file() const {
    if (file && file_at(address.substr(kIpc.size())) == file) ::unlink(address.c_str() + kIpc.size());
  }

  const uint64_t run;
  std::string address;
  std::optional<FileId> file;  // of an ipc address: the one that was bound
  int64_t rejected = 0;
  struct Strikes {
    int in_a_row = 0;
    Millis deaf_until = 0;
  };
  std::map<std::string, Strikes> strikes;  // of peers whose last frame was bad
  zmq::context_t context;
  zmq::socket_t socket;  // after the context it lives in
};

RouterSocket::RouterSocket(const std::string& address, uint64_t run) {
  check_library();
  check_address(address);
  try {
    impl_ = std::make_unique<Impl>(run);
    impl_->socket.set(zmq::sockopt::router_mandatory, true);
    impl_->socket.set(zmq::sockopt::router_handover, true);
    // ZeroMQ unlinks the file of an ipc address and binds its own in its place, even where somebody listens:
    // the lock of the run directory is what keeps two learners apart.
    impl_->socket.bind(endpoint(address));
    impl_->address = impl_->socket.get(zmq::sockopt::last_endpoint);
    impl_->remember_file();
  } catch (const zmq::error_t& error) {
    const bool tcp = address.starts_with("tcp://");
    const char* advice = error.num() == EADDRINUSE ? "; end the program that has it, or choose another port"
                         : tcp                     ? ""
                                                   : "; its folder must exist and be writable";
    fail<EnvironmentError>("cannot listen on ", address, ": ", error.what(), advice);
  }
}

RouterSocket::~RouterSocket() { impl_->unlink_file(); }

const std::string& RouterSocket::address() const { return impl_->address; }

std::optional<RouterSocket::Received> RouterSocket::receive(Millis timeout_ms) {
  const Millis deadline = now_ms() + timeout_ms;
  for (int rejected = 0; rejected < kMaxRejectedAtOnce;) {
    auto parts = receive_parts(impl_->socket);
    if (parts.empty()) {
      if (timeout_ms <= 0 || !wait_for(impl_->socket, ZMQ_POLLIN, deadline)) return std::nullopt;
      continue;
    }
    if (auto received = impl_->accept(parts)) return received;
    ++rejected;
  }
  return std::nullopt;
}

bool RouterSocket::send(const std::string& peer, Frame frame) {
  frame.run = impl_->run;
  const auto bytes = encode_frame(frame);
  try {
    const auto flags = zmq::send_flags::dontwait;
    if (!impl_->socket.send(zmq::buffer(peer), flags | zmq::send_flags::sndmore)) return false;
    return impl_->socket.send(zmq::buffer(bytes), flags).has_value();
  } catch (const zmq::error_t& error) {
    if (error.num() == EHOSTUNREACH) return false;
    fail<EnvironmentError>("cannot send from ", impl_->address, ": ", error.what());
  }
}

int64_t RouterSocket::num_rejected() const { return impl_->rejected; }
int RouterSocket::fd() const { return impl_->socket.get(zmq::sockopt::fd); }

struct DealerSocket::Impl {
  Impl(const std::string& the_address, uint64_t the_run)
      : address(the_address), run(the_run), socket(make_socket(context, zmq::socket_type::dealer)) {}

  const std::string address;
  const uint64_t run;
  int64_t rejected = 0;
  zmq::context_t context;
  zmq::socket_t socket;  // after the context it lives in
};

DealerSocket::DealerSocket(const std::string& address, uint64_t run) {
  check_library();
  check_address(address);
  try {
    impl_ = std::make_unique<Impl>(address, run);
    // Nothing is taken for a peer that is not there. It costs what came and was not read when a connection
    // ends.
    impl_->socket.set(zmq::sockopt::immediate, true);
    impl_->socket.set(zmq::sockopt::routing_id, routing_id());
    impl_->socket.set(zmq::sockopt::reconnect_ivl, 100);
    impl_->socket.set(zmq::sockopt::reconnect_ivl_max, 2'000);
    impl_->socket.connect(endpoint(address));
  } catch (const zmq::error_t& error) {
    fail<EnvironmentError>("cannot connect to ", address, ": ", error.what());
  }
}

DealerSocket::~DealerSocket() = default;

std::optional<Frame> DealerSocket::receive(Millis timeout_ms) {
  const Millis deadline = now_ms() + timeout_ms;
  for (int rejected = 0; rejected < kMaxRejectedAtOnce;) {
    const auto parts = receive_parts(impl_->socket);
    if (parts.empty()) {
      if (timeout_ms <= 0 || !wait_for(impl_->socket, ZMQ_POLLIN, deadline)) return std::nullopt;
      continue;
    }
    auto decoded = parts.size() == 1 ? decode_frame(view(parts.front())) : DecodedFrame{};
    // A Refuse of another run says that this is another run.
    if (decoded.frame && (decoded.frame->run == impl_->run || decoded.frame->type == FrameType::Refuse)) {
      return std::move(decoded.frame);
    }
    ++impl_->rejected;
    ++rejected;
  }
  return std::nullopt;
}

bool DealerSocket::send(Frame frame, Millis timeout_ms) {
  frame.run = impl_->run;
  const auto bytes = encode_frame(frame);
  const Millis deadline = now_ms() + timeout_ms;
  try {
    while (!impl_->socket.send(zmq::buffer(bytes), zmq::send_flags::dontwait)) {
      if (!wait_for(impl_->socket, ZMQ_POLLOUT, deadline)) return false;
    }
    return true;
  } catch (const zmq::error_t& error) {
    fail<EnvironmentError>("cannot send to ", impl_->address, ": ", error.what());
  }
}

void DealerSocket::reconnect() {
  try {
    impl_->socket.disconnect(endpoint(impl_->address));
  } catch (const zmq::error_t& error) {
    if (error.num() != ENOENT) fail<EnvironmentError>("cannot leave ", impl_->address, ": ", error.what());
  }
  impl_->socket.connect(endpoint(impl_->address));
}

int64_t DealerSocket::num_rejected() const { return impl_->rejected; }

}  // namespace sluice::transport
