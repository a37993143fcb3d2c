#include "recipes/internal/stage_monitor.h"

#include <algorithm>
#include <iostream>
#include <system_error>

#include "base/clock.h"
#include "base/error.h"
#include "base/socket_path.h"
#include "base/terminal.h"
#include "monitor/run_history.h"
#include "recipes/internal/run_control.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<monitor::RedisMonitor> connect(const RunDirectory& run, const Recipe& recipe,
                                               const monitor::RedisAddress& address) {
  auto redis = std::make_unique<monitor::RedisMonitor>(address, recipe.name);
  if (recipe.monitor.control) redis->listen(last_command_taken(run));
  return redis;
}

std::unique_ptr<monitor::RedisMonitor> make_redis(const RunDirectory& run, const Recipe& recipe) {
  if (recipe.monitor.redis == "off") return nullptr;
  monitor::RedisAddress address;
  if (recipe.monitor.redis == "private") {
    // The supervisor has started it, or has said that there is none.
    address.unix_socket = short_socket_path(run.redis_socket()).string();
    if (!fs::exists(address.unix_socket)) return nullptr;
  } else {
    address = monitor::parse_redis_url(recipe.monitor.redis);
  }
  return connect(run, recipe, address);
}

double megabytes(uintmax_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

double size_mb(const fs::path& folder) {
  uintmax_t bytes = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) bytes += entry.file_size();
  }
  return megabytes(bytes);
}

}  // namespace

StageMonitor::StageMonitor(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                           int64_t last_step, int64_t rank)
    : run_(run), stage_(stage), state_(run.state()), health_(stage.health.off) {
  if (rank != 0) return;
  jsonl_.emplace(run.metrics(), last_step);
  monitor::for_each_step(run.metrics(), [this](const monitor::StepReport& report) { health_.after(report); });
  if (recipe.monitor.tensorboard && stage.trains()) tensorboard_.emplace(run.root(), last_step);
  redis_ = make_redis(run, recipe);
}

void StageMonitor::add_disk(std::map<std::string, double>& metrics) {
  std::error_code error;
  const auto space = fs::space(run_.root(), error);
  if (!error) metrics["disk/free_mb"] = megabytes(space.available);
  const auto latest = fs::read_symlink(run_.checkpoints() / "latest", error);
  if (error) return;
  if (latest != measured_) checkpoint_mb_ = size_mb(run_.checkpoints() / latest);
  measured_ = latest;
  metrics["disk/checkpoint_mb"] = checkpoint_mb_;
}

void StageMonitor::report(int64_t step, int64_t stage_step, std::map<std::string, double> metrics,
                          const monitor::StepDetail& detail) {
  if (!jsonl_) return;
  if (stage_.trains()) add_disk(metrics);
  monitor::StepReport report{.stage = stage_.name,
                             .step = step,
                             .stage_step = stage_step,
                             .stage_steps = stage_.steps,
                             .wall_time = wall_seconds(),
                             .metrics = std::move(metrics)};
  report.alarms = health_.after(report);
  for (const auto& alarm : health_.raised())
    report.note += (report.note.empty() ? "" : "; ") + alarm.rule + ": " + alarm.sentence;
  jsonl_->write(report);
  if (tensorboard_) tensorboard_->write(report, detail);
  if (redis_) redis_->write(report);
  print(monitor::step_line(report));
  say_alarms();
  tick();
  live_.draw(report);
}

void StageMonitor::say_alarms() {
  illness_.clear();
  for (const auto& alarm : health_.raised()) {
    say("alarm: " + stage_.name + ": " + alarm.rule + ": " + alarm.sentence + ". " + alarm.suggestion);
    if (std::ranges::count(stage_.health.stop_on, alarm.rule) > 0 && illness_.empty())
      illness_ = alarm.rule + ": " + alarm.sentence;
  }
}

void StageMonitor::end_ill() const {
  require<HealthError>(jsonl_.has_value(), stage_.name, ": rank 0 ends the run by a rule of health.stop_on");
  fail<HealthError>(
      stage_.name, ": ", illness_,
      "; the run is stopped by health.stop_on, its newest checkpoint is whole. --resume goes on "
      "from it all the same");
}

void StageMonitor::show_state(int64_t step, int64_t stage_step, std::map<std::string, std::string> fields,
                              const std::vector<monitor::ActorState>& actors) {
  tick();
  if (!jsonl_) return;
  fields["stage"] = stage_.name;
  fields["step"] = std::to_string(step);
  fields["stage_step"] = std::to_string(stage_step);
  fields["stage_steps"] = std::to_string(stage_.steps);
  const auto problem = state_.write(fields, actors, stage_step == stage_.steps);
  if (!problem.empty()) say(problem + "; the run goes on without it");
  if (!redis_) return;
  redis_->state({std::move(fields)});
}

void StageMonitor::say(const std::string& text) {
  if (!jsonl_) return;
  print(text);
  if (redis_) redis_->event(text);
}

void StageMonitor::print(const std::string& line) {
  live_.clear();
  std::cout << line << std::endl;
}

void StageMonitor::say_left_out(int64_t rows) {
  if (rows == 0) return;
  say(stage_.name + ": " + format_count(rows) +
      " training rows are left out by data.min_pass_rate, data.max_pass_rate or data.max_prompt_chars");
}

void StageMonitor::tick() {
  if (!redis_) return;
  const std::string problem = redis_->take_problem();
  if (!problem.empty()) print(problem);
}

}  // namespace sluice::recipes
