#include "app/bench/synthetic_run.h"

#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/files.h"
#include "base/subprocess.h"

namespace sluice::app {
namespace {

constexpr int64_t kMetrics = 100;  // of a step
constexpr Millis kAnswerMs = 10'000;

}  // namespace

std::vector<monitor::ActorState> actors_at(int64_t count, int64_t tick) {
  std::vector<monitor::ActorState> actors;
  actors.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    actors.push_back({"actor-" + std::to_string(i),
                      {{"pid", std::to_string(1000 + i)},
                       {"incarnation", std::to_string(1'000'000'007 * i)},
                       {"tokens", std::to_string(100 * tick + i)},
                       {"leases", std::to_string((tick + i) % 8)}}});
  }
  return actors;
}

monitor::StepReport step_at(int64_t tick) {
  monitor::StepReport report{.stage = "sft",
                             .step = tick + 1,
                             .stage_step = tick + 1,
                             .stage_steps = 1'000'000,
                             .wall_time = wall_seconds()};
  for (int64_t i = 0; i < kMetrics; ++i)
    report.metrics["synthetic/" + std::to_string(i)] = 1.0 / static_cast<double>(tick + i + 1);
  return report;
}

std::string redis_cli(const std::filesystem::path& socket, std::vector<std::string> words,
                      const std::filesystem::path& output) {
  words.insert(words.begin(), {"redis-cli", "-s", socket.string()});
  std::filesystem::remove(output);
  auto process = Subprocess::start({.command = std::move(words), .output = output});
  const auto status = process.wait(kAnswerMs);
  auto answer = read_file(output);
  require<EnvironmentError>(status && status->ok(), "redis-cli: ", answer);
  while (answer.ends_with('\n')) answer.pop_back();
  return answer;
}

}  // namespace sluice::app
