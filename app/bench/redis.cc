#include "app/bench/redis.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "app/bench/load.h"
#include "app/bench/synthetic_run.h"
#include "base/error.h"
#include "base/stopwatch.h"
#include "base/temporary_folder.h"
#include "monitor/redis_monitor.h"
#include "monitor/redis_server.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRun = "bench";
constexpr int64_t kActors = 8;
constexpr uint64_t kGroups = 16;       // of a step
constexpr double kFlushEveryS = 0.25;  // while it is flushed
constexpr double kLongestS = 60;       // until what it shows is right again

enum class Fault : uint8_t { None, Stopped, Frozen, Flushed, Full };
constexpr std::array<std::pair<Fault, const char*>, 5> kFaults{{{Fault::None, "none"},
                                                                {Fault::Stopped, "stopped"},
                                                                {Fault::Frozen, "frozen"},
                                                                {Fault::Flushed, "flushed"},
                                                                {Fault::Full, "full"}}};

// A server to which all of this can be done.
class FaultyServer {
 public:
  explicit FaultyServer(const fs::path& folder) : folder_(folder) { start(); }

  const fs::path& socket() const { return server_->socket(); }
  std::string ask(std::vector<std::string> words) const {
    return redis_cli(server_->socket(), std::move(words), folder_ / "answer");
  }
  void begin(Fault fault) {
    if (fault == Fault::Stopped) server_.reset();
    if (fault == Fault::Frozen) server_->process().signal(SIGSTOP);
    if (fault == Fault::Full) ask({"config", "set", "maxmemory", "1"});
  }
  void go_on(Fault fault) {
    if (fault != Fault::Flushed || flushed_.seconds() < kFlushEveryS) return;
    ask({"flushall"});
    flushed_ = Stopwatch();
  }
  void end(Fault fault) {
    if (fault == Fault::Stopped) start();
    if (fault == Fault::Frozen) server_->process().signal(SIGCONT);
    if (fault == Fault::Full) ask({"config", "set", "maxmemory", "0"});
  }

 private:
  void start() {
    std::string why;
    auto started = monitor::RedisServer::start(folder_ / "redis.sock", folder_ / "redis.log", why);
    require<EnvironmentError>(started.has_value(), "bench redis: ", why);
    server_.emplace(*std::move(started));
  }

  const fs::path folder_;
  std::optional<monitor::RedisServer> server_;
  Stopwatch flushed_;
};

// Seconds that have gone by for this thread: without those in which it was ready and the machine had other
// things to do, which have nothing to do with Redis. With them where the system does not say.
class OwnTime {
 public:
  double seconds() const {
    return std::max(cpu_of_thread() - cpu_s_, watch_.seconds() - (waited_s() - before_s_));
  }

 private:
  static double waited_s() {
    std::ifstream in("/proc/thread-self/schedstat");  // nanoseconds on a processor, and ready for one
    double ran = 0, waited = 0;
    in >> ran >> waited;
    return 1e-9 * waited;
  }

  const double before_s_ = waited_s(), cpu_s_ = cpu_of_thread();
  const Stopwatch watch_;
};

// As long each time: every number needs the one before it.
double compute(int64_t rounds) {
  double value = 1;
  for (int64_t i = 0; i < rounds; ++i) value = std::sqrt(value + 1);
  return value;
}

class Steps {
 public:
  Steps(monitor::RedisMonitor& redis, int64_t step_ms) : redis_(redis) {
    constexpr int64_t kTried = 1'000'000;
    double best = 1e9;
    for (int i = 0; i < 10; ++i) best = std::min(best, compute_s(kTried));
    rounds_ = std::max<int64_t>(1, std::llround(static_cast<double>(kTried * step_ms) / 1000 / best));
  }

  struct Seconds {
    double computing = 0, telling = 0;
  };
  // A step that is told of as a learner does it.
  Seconds step() {
    auto report = step_at(step_);
    auto actors = actors_at(kActors, step_);
    std::vector<monitor::QueuedRollout> groups;
    std::vector<uint64_t> ids;
    for (uint64_t i = 0; i < kGroups; ++i) {
      ids.push_back(static_cast<uint64_t>(step_) * kGroups + i);
      groups.push_back({ids.back(), {{"step", std::to_string(step_)}, {"actor", "actor-0"}}});
    }
    std::map<std::string, std::string> fields{{"stage", "sft"}};
    for (int i = 0; i < 15; ++i) fields["count_" + std::to_string(i)] = std::to_string(step_ + i);
    fields["step"] = std::to_string(++step_);

    const OwnTime whole;
    redis_.queued(std::move(groups));
    redis_.batched(ids);
    const double computing = compute_s(rounds_);
    redis_.ended(ids);
    redis_.write(report);
    redis_.state({std::move(fields)});
    redis_.actors(std::move(actors));
    const auto said = redis_.take_problem();
    const double telling = whole.seconds() - computing;
    if (!said.empty() && said_.find(said) == std::string::npos) said_ += (said_.empty() ? "" : "; ") + said;
    return {computing, telling};
  }
  int64_t num_told() const { return step_; }
  std::string take_said() { return std::exchange(said_, ""); }

 private:
  double compute_s(int64_t rounds) {
    const OwnTime whole;
    result_ = compute(rounds);
    return whole.seconds();
  }

  monitor::RedisMonitor& redis_;
  int64_t rounds_ = 0, step_ = 0;
  volatile double result_ = 0;  // so that it has to be computed
  std::string said_;
};

// Seconds until the server shows a step as new as this one, while the run goes on.
double seconds_to_be_right(const FaultyServer& server, Steps& steps, int64_t step) {
  const Stopwatch whole;
  while (whole.seconds() < kLongestS) {
    steps.step();
    const auto shown = server.ask({"hget", std::string("sluice:{") + kRun + "}:state", "step"});
    if (!shown.empty() && std::stoll(shown) >= step) return whole.seconds();
  }
  fail<EnvironmentError>("bench redis: what the server shows is not right after ", kLongestS, " s");
}

Json measure(FaultyServer& server, Steps& steps, Fault fault, double seconds) {
  Steps::Seconds all;
  double longest_s = 0;
  double of_others_s = 0;  // of a core, by the threads that do not step
  int64_t count = 0;
  server.begin(fault);
  const Stopwatch whole;
  while (whole.seconds() < seconds) {
    server.go_on(fault);
    const double process = cpu_of_process(), thread = cpu_of_thread();
    const auto step = steps.step();
    all.computing += step.computing;
    all.telling += step.telling;
    longest_s = std::max(longest_s, step.telling);
    ++count;
    of_others_s += cpu_of_process() - process - (cpu_of_thread() - thread);
  }
  const double wall = whole.seconds();
  server.end(fault);
  const double right = fault == Fault::None ? 0 : seconds_to_be_right(server, steps, steps.num_told());
  return {{"row", "redis"},
          {"steps", count},
          {"step_ms", 1000 * all.computing / static_cast<double>(count)},
          {"step_ratio", 1 + all.telling / all.computing},
          {"longest_ms", 1000 * longest_s},
          {"core_share_of_its_thread", std::max(0.0, of_others_s) / wall},
          {"right_again_s", right},
          {"said", steps.take_said()}};
}

}  // namespace

void bench_redis(const RedisBench& options, Report& report) {
  const TemporaryFolder folder("bench-redis");
  FaultyServer server(folder.path());
  monitor::RedisMonitor redis({.unix_socket = server.socket().string()}, kRun);
  Steps steps(redis, options.step_ms);
  seconds_to_be_right(server, steps, 1);
  steps.take_said();
  for (const auto& [fault, name] : kFaults) {
    const LoadWatch watch;
    auto line = measure(server, steps, fault, static_cast<double>(options.seconds));
    line["fault"] = name;
    line["others"] = watch.others();
    report.add(line, "redis: fault " + std::string(name) + ": telling makes a step " +
                         std::to_string(line.at("step_ratio").get<double>()) + " times as long, " +
                         std::to_string(line.at("right_again_s").get<double>()) + " s to be right again; " +
                         line.at("said").get<std::string>());
  }
}

}  // namespace sluice::app
