#include "monitor/redis_monitor.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>
#include <utility>

#include "base/clock.h"
#include "monitor/internal/command_queue.h"
#include "monitor/internal/redis_client.h"
#include "monitor/internal/run_picture.h"

namespace sluice::monitor {
namespace {

using internal::RedisCommand;
using internal::RedisReply;

constexpr size_t kMaxWaiting = 4096;
constexpr std::chrono::milliseconds kFirstBackOff{100};
constexpr std::chrono::milliseconds kLongestBackOff{2000};
constexpr std::chrono::milliseconds kProbeEvery{1000};  // a lost picture is noticed though nothing happens
constexpr std::chrono::milliseconds kGather{20};        // what is told together is sent together
constexpr std::chrono::milliseconds kLookEvery{200};    // for commands
constexpr Millis kFarewell = 500;

// The run's signals are for other threads.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, nullptr);
}

// The first error in the replies to a transaction: of a command it refused, or in what EXEC answered.
std::string first_error(const std::vector<RedisReply>& replies) {
  for (const auto& reply : replies) {
    if (reply.is_error()) return reply.text;
  }
  if (replies.back().kind != RedisReply::Kind::Array) return "the transaction was not carried out";
  for (const auto& reply : replies.back().elements) {
    if (reply.is_error()) return reply.text;
  }
  return "";
}

// Whether the keys were there before the changes; true when nobody can tell.
bool keys_were_there(const std::vector<RedisReply>& replies) {
  const auto& results = replies.back().elements;
  return results.empty() || results[0].is_error() || results[0].integer == internal::kProbedKeys;
}

}  // namespace

struct RedisMonitor::Impl {
  Impl(const RedisAddress& address, const std::string& run)
      : where("Redis at " + internal::describe(address)), client(address), picture(run, kMaxWaiting, clock) {}

  // Tells the picture what happened.
  template <class Tell>
  void tell(Tell tell_picture) {
    bool busy = false;
    {
      const std::lock_guard lock(mutex);
      tell_picture(picture);
      busy = picture.num_waiting() > 0 || picture.whole_due();
    }
    if (busy) changed.notify_one();
  }

  void run(const std::stop_token& stop);
  std::string show_whole();
  std::string send_changes();
  std::string look_for_commands();
  bool answers_wait() const;
  std::optional<internal::StreamId> last_metric(std::string& why, bool& wrong_type);
  void wait_for_changes(const std::stop_token& stop);
  void say(std::string sentence);
  bool work_left();
  bool is_busy() const;
  void lost(const std::string& why);
  void found();

  const std::string where;
  const SteadyClock clock;
  internal::RedisClient client;  // the thread's
  std::mutex mutex;
  std::condition_variable_any changed;
  std::condition_variable_any gather;              // nobody notifies it
  internal::RunPicture picture;                    // guarded by mutex
  std::optional<internal::CommandQueue> commands;  // guarded by mutex; empty: nobody listens
  Millis looked_at = 0;                            // the thread's: for commands
  std::string problem;                             // guarded by mutex, not read yet
  std::string last_sentence;                       // guarded by mutex
  std::string refusal;                             // the thread's: what the server refused last, said once
  std::string command_refusal;                     // the thread's likewise
  enum class Seen { Never, There, Away } seen = Seen::Never;  // the thread's
  std::atomic<bool> connected = false;
};

// What is not read does not grow: the last two sentences are kept.
void RedisMonitor::Impl::say(std::string sentence) {
  const std::lock_guard lock(mutex);
  problem = problem.empty() ? sentence : last_sentence + "; " + sentence;
  last_sentence = std::move(sentence);
}

// For the thread: what is there to do; `mutex` is held. A refused answer waits for the next look.
bool RedisMonitor::Impl::is_busy() const {
  return picture.num_waiting() > 0 || picture.whole_due() || answers_wait();
}

bool RedisMonitor::Impl::answers_wait() const {
  return commands && commands->has_answers() && command_refusal.empty();
}

bool RedisMonitor::Impl::work_left() {
  const std::lock_guard lock(mutex);
  return is_busy();
}

void RedisMonitor::Impl::lost(const std::string& why) {
  connected = false;
  {
    const std::lock_guard lock(mutex);
    picture.stop_following();
  }
  if (seen == Seen::Away) return;
  const bool full = why.starts_with("OOM ") || why.find("maxmemory") != std::string::npos;
  say(where +
      (full                  ? " is full ("
       : seen == Seen::Never ? " cannot be used ("
                             : " is gone (") +
      why + "); the run goes on without it");
  seen = Seen::Away;
}

void RedisMonitor::Impl::found() {
  if (seen == Seen::Away) say(where + " is back");
  seen = Seen::There;
  connected = true;
}

// The last entry of the metrics stream; empty when there is none.
std::optional<internal::StreamId> RedisMonitor::Impl::last_metric(std::string& why, bool& wrong_type) {
  const auto replies = client.exchange({{"XREVRANGE", picture.key("metrics"), "+", "-", "COUNT", "1"}}, why);
  if (!replies) return std::nullopt;
  const auto& reply = replies->front();
  wrong_type = reply.is_error() && reply.text.starts_with("WRONGTYPE");
  if (reply.is_error() && !wrong_type) why = reply.text;
  if (reply.elements.empty() || reply.elements[0].elements.empty()) return std::nullopt;
  return internal::parse_stream_id(reply.elements[0].elements[0].text);
}

// Connects if need be and writes the whole picture. Returns "" or why it could not.
std::string RedisMonitor::Impl::show_whole() {
  std::string why;
  if (!client.connected()) why = client.connect();
  bool wrong_type = false;
  std::optional<internal::StreamId> last;
  if (why.empty()) last = last_metric(why, wrong_type);
  if (!why.empty()) return why;

  std::vector<RedisCommand> commands;
  {
    const std::lock_guard lock(mutex);
    commands = picture.take_whole(last);
  }
  if (wrong_type) commands.insert(commands.begin() + 1, RedisCommand{"DEL", picture.key("metrics")});
  const auto replies = client.exchange(commands, why);
  return replies ? first_error(*replies) : why;
}

std::string RedisMonitor::Impl::send_changes() {
  std::vector<RedisCommand> commands;
  bool whole = false;
  {
    const std::lock_guard lock(mutex);
    whole = picture.whole_due();
    if (!whole) commands = picture.take_changes();
  }
  if (whole) return show_whole();

  std::string why;
  const auto replies = client.exchange(commands, why);
  if (!replies) return why;
  const auto error = first_error(*replies);
  const bool there = keys_were_there(*replies);
  if (error.empty() && there) return "";

  why = show_whole();
  if (!why.empty()) return why;
  if (!there) {
    say(where + " had lost the keys of this run; they are written again");
  } else if (error != refusal) {
    say(where + " refused a command (" + error + "); the keys of this run are written again");
    refusal = error;
  }
  return "";
}

// Answers what was done and asks what is to be done. Returns "" or why it could not.
std::string RedisMonitor::Impl::look_for_commands() {
  std::vector<RedisCommand> look;
  {
    const std::lock_guard lock(mutex);
    const bool due = clock.now_ms() - looked_at >= kLookEvery.count() || answers_wait();
    if (!commands || !due) return "";
    look = commands->look();
  }
  looked_at = clock.now_ms();
  std::string why;
  const auto replies = client.exchange(look, why);
  if (!replies) return why;
  std::string error;
  {
    const std::lock_guard lock(mutex);
    error = commands->looked(*replies);
  }
  if (!error.empty() && error != command_refusal) say(where + " refuses what commands need: " + error);
  command_refusal = error;
  return "";
}

void RedisMonitor::Impl::wait_for_changes(const std::stop_token& stop) {
  std::unique_lock lock(mutex);
  changed.wait_for(lock, stop, commands ? kLookEvery : kProbeEvery, [this] { return is_busy(); });
  gather.wait_for(lock, stop, kGather, [] { return false; });
}

void RedisMonitor::Impl::run(const std::stop_token& stop) {
  block_signals();
  auto back_off = kFirstBackOff;
  do {
    std::string why;
    if (connected) {
      wait_for_changes(stop);
      why = send_changes();
      if (why.empty()) why = look_for_commands();
    } else {
      why = show_whole();
      if (why.empty()) found();
    }
    if (why.empty()) {
      back_off = kFirstBackOff;
      continue;
    }
    const bool was_connected = connected;
    client.close();
    lost(why);
    if (was_connected) continue;  // at once: a restarted server may be there already
    std::unique_lock lock(mutex);
    changed.wait_for(lock, stop, back_off, [] { return false; });
    back_off = std::min(2 * back_off, kLongestBackOff);
  } while (!stop.stop_requested() || (connected && work_left()));
}

RedisMonitor::RedisMonitor(const RedisAddress& address, const std::string& run)
    : impl_(std::make_unique<Impl>(address, run)),
      thread_([impl = impl_.get()](const std::stop_token& stop) { impl->run(stop); }) {}

RedisMonitor::~RedisMonitor() { impl_->client.give_up_at(impl_->clock.now_ms() + kFarewell); }

void RedisMonitor::write(const StepReport& report) {
  impl_->tell([&](auto& picture) { picture.write(report); });
}

void RedisMonitor::state(RunState state) {
  impl_->tell([&](auto& picture) { picture.state(std::move(state)); });
}

void RedisMonitor::actors(std::vector<ActorState> actors) {
  impl_->tell([&](auto& picture) {
    for (auto& actor : actors) picture.actor(std::move(actor));
  });
}

void RedisMonitor::event(const std::string& text) {
  impl_->tell([&](auto& picture) { picture.event(text); });
}

void RedisMonitor::queued(std::vector<QueuedRollout> groups) {
  impl_->tell([&](auto& picture) { picture.queued(std::move(groups)); });
}

void RedisMonitor::batched(const std::vector<uint64_t>& groups) {
  impl_->tell([&](auto& picture) { picture.batched(groups); });
}

void RedisMonitor::ended(const std::vector<uint64_t>& groups) {
  impl_->tell([&](auto& picture) { picture.ended(groups); });
}

void RedisMonitor::listen(const std::string& last_taken) {
  const std::lock_guard lock(impl_->mutex);
  impl_->commands.emplace(impl_->picture.key(""), internal::parse_stream_id(last_taken));
}

std::vector<RunCommand> RedisMonitor::take_commands() {
  const std::lock_guard lock(impl_->mutex);
  return impl_->commands ? impl_->commands->take() : std::vector<RunCommand>();
}

std::string RedisMonitor::last_taken() const {
  const std::lock_guard lock(impl_->mutex);
  const auto id = impl_->commands ? impl_->commands->last_seen() : std::nullopt;
  return id ? internal::to_string(*id) : "";
}

void RedisMonitor::answer(const RunCommand& command, const std::string& result, const std::string& text) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->commands->answer(command, result, text);
  }
  impl_->changed.notify_one();
}

std::string RedisMonitor::take_problem() {
  const std::lock_guard lock(impl_->mutex);
  return std::exchange(impl_->problem, "");
}

bool RedisMonitor::connected() const { return impl_->connected; }

int64_t RedisMonitor::num_dropped() const {
  const std::lock_guard lock(impl_->mutex);
  return impl_->picture.num_dropped();
}

}  // namespace sluice::monitor
