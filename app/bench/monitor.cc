#include "app/bench/monitor.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "app/bench/load.h"
#include "app/bench/synthetic_run.h"
#include "base/cpu_time.h"
#include "base/error.h"
#include "base/files.h"
#include "base/stopwatch.h"
#include "base/subprocess.h"
#include "base/temporary_folder.h"
#include "monitor/jsonl_sink.h"
#include "monitor/redis_monitor.h"
#include "monitor/redis_server.h"
#include "monitor/state_file.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"
#include "recipes/run_page.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr auto kAskEvery = std::chrono::milliseconds(500);  // as often as the page does
constexpr Millis kLongestMs = 60'000;                       // of a process that is asked
constexpr const char* kRecipe = R"(name = "watched"
model = { hidden_size = 32, layers = 1, heads = 2, intermediate_size = 64, max_position = 64 }
tokenizer = { train = "characters" }
data = { use = "text", path = "text.txt" }
[[stages]]
use = "sft"
steps = 1000000
)";

int connect_to_page(int port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool there = ::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  require<EnvironmentError>(there, "bench monitor: the page at port ", port, " takes nobody");
  return fd;
}

void ask_for(int fd, const std::string& path) {
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
  require<EnvironmentError>(::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == std::ssize(request),
                            "bench monitor: the page takes no request");
}

// The page in a browser: a connection that follows its events, and one question after another.
class Visitor {
 public:
  explicit Visitor(int port)
      : port_(port),
        follower_(connect_to_page(port)),
        thread_([this](const std::stop_token& stop) { run(stop); }) {}

  // Ends the visit. Milliseconds of each answer of /api/status, in order of length.
  std::vector<double> answers_ms() {
    thread_.request_stop();
    thread_.join();
    ::close(follower_);
    std::ranges::sort(answers_ms_);
    return answers_ms_;
  }
  double cpu_s() const { return cpu_s_; }
  int64_t event_bytes() const { return event_bytes_; }

 private:
  void run(const std::stop_token& stop) {
    ask_for(follower_, "/api/events");
    std::vector<char> bytes(1 << 20);
    while (!stop.stop_requested()) {
      for (ssize_t n; (n = ::recv(follower_, bytes.data(), bytes.size(), MSG_DONTWAIT)) > 0;)
        event_bytes_ += n;
      const Stopwatch answer;
      const int fd = connect_to_page(port_);
      ask_for(fd, "/api/status");
      while (::recv(fd, bytes.data(), bytes.size(), 0) > 0) {
      }
      ::close(fd);
      answers_ms_.push_back(1000 * answer.seconds());
      std::this_thread::sleep_for(kAskEvery);
    }
    cpu_s_ = cpu_of_thread();
  }

  const int port_;
  const int follower_;
  std::vector<double> answers_ms_;
  double cpu_s_ = 0;
  int64_t event_bytes_ = 0;
  std::jthread thread_;  // last: it uses the others
};

double seconds_of_process(std::vector<std::string> command, const fs::path& output) {
  const Stopwatch whole;
  auto process = Subprocess::start({.command = std::move(command), .output = output});
  const auto status = process.wait(kLongestMs);
  require<EnvironmentError>(status && status->ok(), "bench monitor: ", read_file(output));
  return whole.seconds();
}

std::string percent(double share) { return std::to_string(100 * share) + " %"; }

struct Told {
  double making_s = 0;  // of what is told, which is no part of the monitor
  double telling_s = 0;
  double cpu_s = 0;  // of the process, without the making
  double wall_s = 0;
};

// Ticks from `first` on, at their times.
Told tell(const MonitorBench& options, int64_t first, int64_t last, monitor::RedisMonitor& redis,
          monitor::JsonlSink& jsonl, monitor::StateFile& state) {
  Told told;
  const double cpu_before = cpu_of_process();
  const Stopwatch whole;
  const auto began = std::chrono::steady_clock::now();
  for (int64_t tick = first; tick < last; ++tick) {
    std::this_thread::sleep_until(began + (tick - first) * std::chrono::milliseconds(1000) / options.rate);
    const double start = cpu_of_thread();
    auto actors = actors_at(options.actors, tick);
    const auto step = step_at(tick);
    std::map<std::string, std::string> fields{{"stage", "sft"}, {"step", std::to_string(tick + 1)}};
    const double made = cpu_of_thread();
    jsonl.write(step);
    redis.write(step);
    state.write(fields, actors, /*last=*/tick + 1 == last);
    redis.state({std::move(fields)});
    redis.actors(std::move(actors));
    told.making_s += made - start;
    told.telling_s += cpu_of_thread() - made;
  }
  told.wall_s = whole.seconds();
  told.cpu_s = cpu_of_process() - cpu_before - told.making_s;
  return told;
}

}  // namespace

void bench_monitor(const MonitorBench& options, Report& report) {
  const TemporaryFolder folder("bench-monitor");
  write_file_atomically(folder.path() / "recipe.toml", kRecipe);
  write_file_atomically(folder.path() / "text.txt", std::string(4096, 'a'));
  const auto recipe = recipes::load_recipe(folder.path() / "recipe.toml", {});
  const auto run = recipes::open_run(folder.path() / "runs", recipe, /*resume=*/false);
  std::string why, url;
  auto server = monitor::RedisServer::start(run.directory.redis_socket(), folder.path() / "redis.log", why);
  require<EnvironmentError>(server.has_value(), "bench monitor: ", why);
  auto page = recipes::ServedPage::start(run.directory, recipe.monitor, url, why);
  require<EnvironmentError>(page != nullptr, "bench monitor: ", why);
  monitor::RedisMonitor redis({.unix_socket = server->socket().string()}, recipe.name);
  monitor::JsonlSink jsonl(run.directory.metrics(), 0);
  monitor::StateFile state(run.directory.state());
  const int port = std::stoi(url.substr(url.rfind(':') + 1));

  const LoadWatch watch;
  const double redis_before = cpu_seconds(server->process().pid());
  const int64_t half = options.rate * options.seconds / 2;
  const auto alone = tell(options, 0, half, redis, jsonl, state);
  Visitor visitor(port);
  const auto watched = tell(options, half, 2 * half, redis, jsonl, state);
  const auto answers = visitor.answers_ms();
  const double wall = alone.wall_s + watched.wall_s;
  const double share = alone.cpu_s / alone.wall_s,
               share_watched = (watched.cpu_s - visitor.cpu_s()) / watched.wall_s;
  const double redis_cpu = cpu_seconds(server->process().pid()) - redis_before;
  const double top_s = seconds_of_process(
      {own_executable().string(), "top", run.directory.root().string(), "--once"}, folder.path() / "top.out");
  const auto entries = std::stoll(redis_cli(
      server->socket(), {"xlen", "sluice:{" + recipe.name + "}:metrics"}, folder.path() / "length.out"));
  const auto at = [&](double share) {
    return answers[static_cast<size_t>(share * static_cast<double>(answers.size() - 1))];
  };
  const Json line = {{"row", "monitor"},
                     {"actors", options.actors},
                     {"rate", options.rate},
                     {"seconds", wall},
                     {"steps", 2 * half},
                     {"core_share", share},
                     {"core_share_watched", share_watched},
                     {"core_share_telling", (alone.telling_s + watched.telling_s) / wall},
                     {"core_share_redis_server", redis_cpu / wall},
                     {"status_ms_p50", at(0.5)},
                     {"status_ms_p95", at(0.95)},
                     {"top_once_s", top_s},
                     {"event_bytes_per_s", static_cast<double>(visitor.event_bytes()) / watched.wall_s},
                     {"metrics_entries", entries},
                     {"dropped", redis.num_dropped()},
                     {"problem", redis.take_problem()},
                     {"others", watch.others()}};
  report.add(line, "monitor: " + std::to_string(options.actors) + " actors heard of " +
                       std::to_string(options.rate) + " times a second take " + percent(share) +
                       " of a core, " + percent(share_watched) + " with a page open; /api/status in " +
                       std::to_string(at(0.5)) + " ms (p95 " + std::to_string(at(0.95)) + "), top in " +
                       std::to_string(top_s) + " s, " + std::to_string(entries) + " entries in the stream");
}

}  // namespace sluice::app
