#include "recipes/internal/stage_monitor.h"

#include <iostream>

#include "base/clock.h"
#include "base/socket_path.h"
#include "base/terminal.h"

namespace sluice::recipes {
namespace {

std::unique_ptr<monitor::RedisMonitor> make_redis(const RunDirectory& run, const Recipe& recipe) {
  if (recipe.redis == "off") return nullptr;
  monitor::RedisAddress address;
  if (recipe.redis == "private") {
    // The supervisor has started it, or has said that there is none.
    address.unix_socket = short_socket_path(run.redis_socket()).string();
    if (!std::filesystem::exists(address.unix_socket)) return nullptr;
  } else {
    address = monitor::parse_redis_url(recipe.redis);
  }
  return std::make_unique<monitor::RedisMonitor>(address, recipe.name);
}

}  // namespace

StageMonitor::StageMonitor(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                           int64_t last_step, int64_t rank)
    : stage_(stage) {
  if (rank != 0) return;
  jsonl_.emplace(run.metrics(), last_step);
  redis_ = make_redis(run, recipe);
}

void StageMonitor::report(int64_t step, int64_t stage_step, std::map<std::string, double> metrics,
                          const std::string& note) {
  if (!jsonl_) return;
  const monitor::StepReport report{.stage = stage_.name,
                                   .step = step,
                                   .stage_step = stage_step,
                                   .stage_steps = stage_.steps,
                                   .wall_time = wall_seconds(),
                                   .metrics = std::move(metrics),
                                   .note = note};
  jsonl_->write(report);
  if (redis_) redis_->write(report);
  std::cout << monitor::step_line(report) << std::endl;
  tick();
}

void StageMonitor::show_state(int64_t step, int64_t stage_step, std::map<std::string, std::string> fields) {
  tick();
  if (!redis_) return;
  fields["stage"] = stage_.name;
  fields["step"] = std::to_string(step);
  fields["stage_step"] = std::to_string(stage_step);
  fields["stage_steps"] = std::to_string(stage_.steps);
  redis_->state({std::move(fields)});
}

void StageMonitor::say(const std::string& text) {
  if (!jsonl_) return;
  std::cout << text << std::endl;
  if (redis_) redis_->event(text);
}

void StageMonitor::say_left_out(int64_t rows) {
  if (rows == 0) return;
  say(stage_.name + ": " + format_count(rows) +
      " training rows are left out by data.min_pass_rate, data.max_pass_rate or data.max_prompt_chars");
}

void StageMonitor::tick() {
  if (!redis_) return;
  const std::string problem = redis_->take_problem();
  if (!problem.empty()) std::cout << problem << std::endl;
}

}  // namespace sluice::recipes
