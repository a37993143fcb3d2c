#include "transport/internal/meeting.h"

#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "base/error.h"

namespace sluice::transport::internal {
namespace {

constexpr const char *kBegun = "begun", *kFailed = "failed";
constexpr Millis kPauseMs = 5;
constexpr Millis kWitnessMs = 3'000;  // for the others to notice a failure too

std::string key_of(const char* name, int64_t rank) { return std::string(name) + "/" + std::to_string(rank); }

std::string list(const std::vector<int64_t>& ranks) {
  std::string text = ranks.size() == 1 ? "rank " : "ranks ";
  for (size_t i = 0; i < ranks.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
  return text;
}

std::pair<std::string, uint16_t> split_address(const std::string& address) {
  const auto colon = address.rfind(':');
  uint16_t port = 0;
  const auto* end = address.data() + address.size();
  const bool holds = colon != std::string::npos && colon > 0 &&
                     std::from_chars(address.data() + colon + 1, end, port).ptr == end && port != 0;
  require<UsageError>(holds, "ranks meet at host:port, such as 127.0.0.1:29500; \"", address, "\" is none");
  return {address.substr(0, colon), port};
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// torchrun's agent listens there itself, and starts the ranks again under the next attempt.
c10::intrusive_ptr<c10d::Store> open_tcp(const RankOptions& options) {
  const auto [host, port] = split_address(options.address);
  const bool agent_listens = variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  c10d::TCPStoreOptions tcp;
  tcp.port = port;
  tcp.isServer = options.rank == 0 && !agent_listens;
  tcp.waitWorkers = false;
  tcp.timeout = std::chrono::milliseconds(options.timeout_ms);
  return c10::make_intrusive<c10d::PrefixStore>("sluice/" + variable("TORCHELASTIC_RESTART_COUNT"),
                                                c10::make_intrusive<c10d::TCPStore>(host, tcp));
}

}  // namespace

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

Meeting::Meeting(const RankOptions& options) : options_(options) {
  require<UsageError>(options.size > 0 && options.rank >= 0 && options.rank < options.size, "ranks: rank ",
                      options.rank, " of ", options.size);
  require<UsageError>(options.timeout_ms > 0, "ranks: a time-out of ", options.timeout_ms, " ms");
  const std::string where = options.address.empty() ? options.meeting.string() : options.address;
  std::vector<int64_t> missing;
  std::string why;
  try {
    open();
    set(kBegun, 0);
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(options.timeout_ms);
    while (!(missing = behind(kBegun, 0)).empty() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs));
    }
    if (missing.empty()) return;
    why = list(missing) + " did not come";
  } catch (const UsageError&) {
    throw;
  } catch (const std::exception& error) {
    why = first_line(error);
  }
  fail<EnvironmentError>(who(), " waited ", options.timeout_ms, " ms at ", where, ": ", why);
}

void Meeting::open() {
  if (options_.address.empty()) {
    store_ = c10::make_intrusive<c10d::FileStore>(options_.meeting.string(), static_cast<int>(options_.size));
  } else {
    store_ = open_tcp(options_);
  }
  store_->setTimeout(std::chrono::milliseconds(options_.timeout_ms));
}

std::string Meeting::who() const {
  return "rank " + std::to_string(options_.rank) + " of " + std::to_string(options_.size);
}

void Meeting::set(const std::string& name, int64_t value) {
  const std::string text = std::to_string(value);
  store_->set(key_of(name.c_str(), options_.rank), std::vector<uint8_t>(text.begin(), text.end()));
}

std::vector<int64_t> Meeting::behind(const char* name, int64_t value) {
  std::vector<int64_t> ranks;
  for (int64_t rank = 0; rank < options_.size; ++rank) {
    const auto key = key_of(name, rank);
    if (!store_->check({key}) || std::stoll(store_->get_to_str(key)) < value) ranks.push_back(rank);
  }
  return ranks;
}

int64_t Meeting::begin() {
  try {
    set(kBegun, ++begun_);
  } catch (const std::exception& error) {
    give_up("sum " + std::to_string(begun_), error);
  }
  return begun_;
}

void Meeting::wait_for_all(Millis patience_ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  try {
    std::vector<int64_t> missing;
    while (!(missing = behind(kBegun, begun_)).empty()) {
      require(std::chrono::steady_clock::now() < until, who(), " waited ", patience_ms, " ms for ",
              list(missing));
      std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs));
    }
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    give_up("a wait", error);
  }
}

// Who has stopped or died within a sum has begun it as the others have, and does not say that it failed.
std::vector<int64_t> Meeting::culprits() {
  try {
    if (auto late = behind(kBegun, begun_); !late.empty()) return late;
    set(kFailed, begun_);
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(kWitnessMs);
    std::vector<int64_t> silent;
    while (!(silent = behind(kFailed, begun_)).empty() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs));
    }
    return silent;
  } catch (const std::exception&) {
    return {0};  // with whom the store has gone
  }
}

void Meeting::give_up(const std::string& what, const std::exception& error) {
  const auto blamed = culprits();
  fail(who(), ", ", what, ": ",
       blamed.empty() ? first_line(error)
                      : list(blamed) + " did not come within " + std::to_string(options_.timeout_ms) +
                            " ms (" + first_line(error) + ")");
}

}  // namespace sluice::transport::internal
