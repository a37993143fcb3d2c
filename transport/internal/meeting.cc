#include "transport/internal/meeting.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <future>
#include <iterator>
#include <optional>
#include <thread>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "base/error.h"
#include "base/pulse.h"

namespace sluice::transport::internal {
namespace {

constexpr Millis kPauseMs = 5, kLongPauseMs = 100;
constexpr Millis kBeatMs = 1'000;
constexpr Millis kWitnessMs = 3'000;   // for the others to notice a failure too, or the end of a wait
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

// The ranks whose number is lower.
std::vector<int64_t> behind(const std::vector<Signs>& all, int64_t Signs::*what, int64_t number) {
  std::vector<int64_t> ranks;
  for (size_t rank = 0; rank < all.size(); ++rank) {
    if (all[rank].*what < number) ranks.push_back(static_cast<int64_t>(rank));
  }
  return ranks;
}

struct Culprits {
  std::vector<int64_t> ranks = {};
  bool live = false;  // and have not begun what the others have
};

// Who has stopped or died within a sum may have begun it as the others have: it does not say that the sum
// failed, and gives no sign of life. Others may not have begun it yet, and come later; who has waited for
// them as long as it may is `late`.
Culprits culprits(Progress& progress, int64_t begun, bool late) {
  progress.tell_failed(begun);
  const auto before = progress.look();
  auto missing = behind(before, &Signs::begun, begun);
  if (late && !missing.empty()) return {.ranks = missing, .live = true};
  std::vector<int64_t> silent, gone;
  wait_until(
      [&] {
        const auto all = progress.look();
        silent = behind(all, &Signs::failed, 0);
        gone.clear();
        std::ranges::copy_if(silent, std::back_inserter(gone), [&](int64_t rank) {
          const auto at = static_cast<size_t>(rank);
          return all[at].beats == before[at].beats;
        });
        return missing.empty() ? silent.empty() : gone.empty();
      },
      kWitnessMs);
  if (!gone.empty()) return {.ranks = gone};
  return missing.empty() ? Culprits{.ranks = silent} : Culprits{.ranks = missing, .live = true};
}

// What `question` answers within the time. Not asked in this thread: where the store has stopped with rank 0,
// it does not answer.
template <class Answer>
std::optional<Answer> ask(std::function<Answer()> question, Millis patience_ms) {
  std::promise<Answer> promise;
  auto answer = promise.get_future();
  std::thread([promise = std::move(promise), question = std::move(question)]() mutable {
    try {
      auto found = question();
      question = nullptr;  // what it holds is let go of before anybody goes on
      promise.set_value(std::move(found));
    } catch (const std::exception&) {
      promise.set_exception(std::current_exception());
    }
  }).detach();
  if (answer.wait_for(std::chrono::milliseconds(patience_ms)) != std::future_status::ready)
    return std::nullopt;
  return answer.get();
}

// For how long each rank has given no sign of life.
class Silence {
 public:
  explicit Silence(int64_t size) : ranks_(static_cast<size_t>(size), {-1, Clock::now()}) {}

  void hear(const std::vector<Signs>& all) {
    for (size_t rank = 0; rank < all.size(); ++rank) {
      if (all[rank].beats != ranks_[rank].beats) ranks_[rank] = {all[rank].beats, Clock::now()};
    }
  }
  bool lasts(int64_t rank, Millis limit_ms) const {
    return Clock::now() - ranks_[static_cast<size_t>(rank)].heard >= std::chrono::milliseconds(limit_ms);
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct Heard {
    int64_t beats;
    Clock::time_point heard;
  };
  std::vector<Heard> ranks_;
};

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
  tell_begun(0);
  heart_ = std::jthread([this](const std::stop_token& stop) { beat(stop); });
}

Progress::~Progress() {
  heart_.request_stop();
  heart_.join();
  if (own_ >= 0) ::close(own_);
}

void Progress::tell_begun(int64_t number) { tell(&Signs::begun, number); }
void Progress::tell_failed(int64_t number) { tell(&Signs::failed, number); }
void Progress::tell_met(int64_t number) { tell(&Signs::met, number); }

void Progress::tell(int64_t Signs::*what, int64_t number) {
  const std::lock_guard lock(mutex_);
  signs_.*what = number;
  if (own_ >= 0) {
    const auto written = ::pwrite(own_, &signs_, sizeof signs_, 0);
    require<EnvironmentError>(written == sizeof signs_, "ranks: cannot write ",
                              file_of(options_, options_.rank), ": ", std::strerror(errno));
  } else {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&signs_);
    store_->set(key_of("signs", options_.rank), std::vector<uint8_t>(bytes, bytes + sizeof signs_));
  }
}

void Progress::beat(const std::stop_token& stop) {
  const std::chrono::milliseconds pause(std::clamp<Millis>(options_.timeout_ms / 10, 1, kBeatMs));
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  for (int64_t beats = 1; !stop.stop_requested(); ++beats) {
    if (waits_) sluice::beat();
    try {
      if (!is_overdue()) tell(&Signs::beats, beats);
    } catch (const std::exception&) {
      // Signs of life that cannot be given are not seen: the others say so.
    }
    wake.wait_for(lock, stop, pause, [] { return false; });
  }
}

Signs Progress::read(int64_t rank) const {
  Signs signs;
  if (own_ < 0) {
    const auto key = key_of("signs", rank);
    if (!store_->check({key})) return signs;
    const auto bytes = store_->get(key);
    if (bytes.size() == sizeof signs) std::memcpy(&signs, bytes.data(), sizeof signs);
    return signs;
  }
  const int file = ::open(file_of(options_, rank).c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return signs;
  if (::pread(file, &signs, sizeof signs, 0) != sizeof signs) signs = {};
  ::close(file);
  return signs;
}

std::vector<Signs> Progress::look() const {
  std::vector<Signs> all;
  for (int64_t rank = 0; rank < options_.size; ++rank) all.push_back(read(rank));
  return all;
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

Meeting::~Meeting() {
  const bool has_store = !options_.address.empty() && options_.rank == 0;
  if (!has_store || met_ == 0 || met_ != num_begun_) return;
  try {
    wait_until([&] { return behind(progress_->look(), &Signs::met, met_).empty(); }, kWitnessMs);
  } catch (const std::exception&) {
    // Then nobody else can see anything either.
  }
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

Meeting::Begun Meeting::begin() {
  const Begun begun{.number = ++num_begun_, .at = std::chrono::steady_clock::now()};
  try {
    progress_->tell_begun(begun.number);
  } catch (const std::exception& error) {
    give_up(begun, "sum " + std::to_string(begun.number), error);
  }
  return begun;
}

void Meeting::wait_for_all() {
  const auto begun = begin();
  const Wait wait(*this);
  const Millis limit_ms = std::min(options_.timeout_ms, kSilentMs);
  Silence silence(options_.size);
  for (Millis pause_ms = kPauseMs;; pause_ms = std::min(2 * pause_ms, kLongPauseMs)) {
    std::vector<int64_t> lost;
    try {
      const auto all = ask<std::vector<Signs>>([progress = progress_] { return progress->look(); }, limit_ms);
      if (!all) fail("the store at ", options_.address, " does not answer");
      const auto missing = behind(*all, &Signs::begun, begun.number);
      if (missing.empty()) return know_all_have_met(begun);
      silence.hear(*all);
      std::ranges::copy_if(missing, std::back_inserter(lost),
                           [&](int64_t rank) { return silence.lasts(rank, limit_ms); });
    } catch (const std::exception& error) {
      give_up(begun, "a wait", error);
    }
    require(lost.empty(), who(), " waited for ", list(lost), ", which gave no sign of life for ", limit_ms,
            " ms");
    std::this_thread::sleep_for(std::chrono::milliseconds(pause_ms));
  }
}

void Meeting::know_all_have_met(const Begun& begun) {
  met_ = begun.number;
  try {
    progress_->tell_met(begun.number);
  } catch (const std::exception&) {
    // Rank 0 has waited for this for some seconds and gone.
  }
}

void Meeting::give_up(const Begun& begun, const std::string& what, const std::exception& error) {
  const std::chrono::milliseconds limit(options_.timeout_ms);
  const bool late = std::chrono::steady_clock::now() - begun.at >= limit;
  Culprits found{.ranks = {0}};  // with whom the store goes and stops
  try {
    const auto told = ask<Culprits>(
        [progress = progress_, number = begun.number, late] { return culprits(*progress, number, late); },
        kSearchMs);
    if (told) found = *told;
  } catch (const std::exception&) {
    // As where it does not answer.
  }
  if (found.ranks.empty()) fail(who(), ", ", what, ": ", first_line(error));
  const std::string fault = late ? " did not come within " + std::to_string(options_.timeout_ms) + " ms"
                            : found.live ? " did not come"
                                         : " went away";
  fail(who(), ", ", what, ": ", list(found.ranks), fault, " (", first_line(error), ")");
}

}  // namespace sluice::transport::internal
