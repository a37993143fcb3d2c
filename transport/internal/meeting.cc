#include "transport/internal/meeting.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <thread>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "base/error.h"

namespace sluice::transport::internal {
namespace {

constexpr Millis kPauseMs = 5;
constexpr Millis kWitnessMs = 3'000;   // for the others to notice a failure too
constexpr Millis kSearchMs = 5'000;    // for who is to blame; a store that has stopped does not say
constexpr const char* kHere = "here";  // a rank, in the store

std::string key_of(const char* name, int64_t rank) { return std::string(name) + "/" + std::to_string(rank); }

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

std::string file_of(const RankOptions& options, int64_t rank) {
  return options.meeting.string() + "." + std::to_string(rank);
}

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

bool wait_until(const std::function<bool()>& condition, Millis patience_ms) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
  while (!condition()) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs));
  }
  return true;
}

// Who has stopped or died within a sum has begun it as the others have, and does not say that it failed.
std::vector<int64_t> culprits(Progress& progress, int64_t begun) {
  if (auto late = progress.behind(Progress::Begun, begun); !late.empty()) return late;
  progress.tell(Progress::Failed, begun);
  std::vector<int64_t> silent;
  wait_until([&] { return (silent = progress.behind(Progress::Failed, begun)).empty(); }, kWitnessMs);
  return silent;
}

}  // namespace

std::string first_line(const std::exception& error) {
  const std::string text = error.what();
  return text.substr(0, text.find('\n'));
}

Progress::Progress(const RankOptions& options, c10::intrusive_ptr<c10d::Store> store)
    : options_(options), store_(std::move(store)) {
  if (options.address.empty()) {
    const auto file = file_of(options, options.rank);
    own_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    require<EnvironmentError>(own_ >= 0, "ranks: cannot write ", file, ": ", std::strerror(errno));
  }
  tell(Begun, 0);
}

Progress::~Progress() {
  if (own_ >= 0) ::close(own_);
}

void Progress::tell(Kind kind, int64_t number) {
  if (own_ >= 0) {
    const auto written = ::pwrite(own_, &number, sizeof number, kind * ssize_t{sizeof number});
    require<EnvironmentError>(written == sizeof number, "ranks: cannot write ",
                              file_of(options_, options_.rank), ": ", std::strerror(errno));
  } else {
    store_->set(key_of(kind == Begun ? "begun" : "failed", options_.rank), bytes_of(std::to_string(number)));
  }
}

int64_t Progress::read(Kind kind, int64_t rank) const {
  if (own_ < 0) {
    const auto key = key_of(kind == Begun ? "begun" : "failed", rank);
    return store_->check({key}) ? std::stoll(store_->get_to_str(key)) : -1;
  }
  const int file = ::open(file_of(options_, rank).c_str(), O_RDONLY | O_CLOEXEC);
  int64_t number = -1;
  if (file < 0) return number;
  if (::pread(file, &number, sizeof number, kind * ssize_t{sizeof number}) != sizeof number) number = -1;
  ::close(file);
  return number;
}

std::vector<int64_t> Progress::behind(Kind kind, int64_t number) const {
  std::vector<int64_t> ranks;
  for (int64_t rank = 0; rank < options_.size; ++rank) {
    if (read(kind, rank) < number) ranks.push_back(rank);
  }
  return ranks;
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
    progress_ = std::make_shared<Progress>(options, store_);
    store_->set(key_of(kHere, options.rank), bytes_of("1"));
    const auto all_are_here = [&] {
      missing.clear();
      for (int64_t rank = 0; rank < options.size; ++rank) {
        if (!store_->check({key_of(kHere, rank)})) missing.push_back(rank);
      }
      return missing.empty();
    };
    if (wait_until(all_are_here, options.timeout_ms)) return;
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

int64_t Meeting::begin() {
  ++begun_;
  begun_at_ = std::chrono::steady_clock::now();
  try {
    progress_->tell(Progress::Begun, begun_);
  } catch (const std::exception& error) {
    give_up("sum " + std::to_string(begun_), error);
  }
  return begun_;
}

void Meeting::wait_for_all(Millis patience_ms) {
  std::vector<int64_t> missing;
  bool all = false;
  try {
    all = wait_until([&] { return (missing = progress_->behind(Progress::Begun, begun_)).empty(); },
                     patience_ms);
  } catch (const std::exception& error) {
    give_up("a wait", error);
  }
  require(all, who(), " waited ", patience_ms, " ms for ", list(missing));
}

void Meeting::give_up(const std::string& what, const std::exception& error) {
  const std::chrono::milliseconds limit(options_.timeout_ms);
  const bool late = std::chrono::steady_clock::now() - begun_at_ >= limit;
  // Not in this thread: where the store has stopped with rank 0, it does not answer.
  std::promise<std::vector<int64_t>> found;
  auto blamed = found.get_future();
  std::thread([found = std::move(found), progress = progress_, begun = begun_]() mutable {
    try {
      found.set_value(culprits(*progress, begun));
    } catch (const std::exception&) {
      found.set_value({0});  // with whom the store has gone
    }
  }).detach();
  const bool answered = blamed.wait_for(std::chrono::milliseconds(kSearchMs)) == std::future_status::ready;
  const auto ranks = answered ? blamed.get() : std::vector<int64_t>{0};
  if (ranks.empty()) fail(who(), ", ", what, ": ", first_line(error));
  fail(who(), ", ", what, ": ", list(ranks),
       late ? " did not come within " + std::to_string(options_.timeout_ms) + " ms" : " went away", " (",
       first_line(error), ")");
}

}  // namespace sluice::transport::internal
