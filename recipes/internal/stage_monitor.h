// What a stage tells of itself while it runs, and where it goes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "monitor/health.h"
#include "monitor/jsonl_sink.h"
#include "monitor/live_line.h"
#include "monitor/redis_monitor.h"
#include "monitor/state_file.h"
#include "monitor/tensorboard_sink.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// Where reports of this process go: metrics.jsonl, the terminal, state.json, TensorBoard and Redis when the
// recipe has them. Of several ranks the first alone has something to say.
class StageMonitor {
 public:
  StageMonitor(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage, int64_t last_step,
               int64_t rank = 0);

  // Fills in stage, steps, the time, the disk and the alarms, and hands the report to every sink.
  void report(int64_t step, int64_t stage_step, std::map<std::string, double> metrics,
              const monitor::StepDetail& detail = {});
  // Whether the last step raised an alarm that is to end the run. Then a checkpoint is written, and end_ill()
  // throws the HealthError; the other ranks are told, and theirs says so.
  bool is_ill() const { return !illness_.empty(); }
  [[noreturn]] void end_ill() const;

  // Where the run stands, and what the stage adds; in state.json and the state hash of Redis.
  void show_state(int64_t step, int64_t stage_step, std::map<std::string, std::string> fields = {},
                  const std::vector<monitor::ActorState>& actors = {});
  // A sentence for the person, on its own line and as an event.
  void say(const std::string& text);
  // How many rows of its data the recipe leaves out, where it does.
  void say_left_out(int64_t rows);
  // Prints what Redis has to say, at most when something changed.
  void tick();
  monitor::RedisMonitor* redis() { return redis_.get(); }

 private:
  void print(const std::string& line);
  void add_disk(std::map<std::string, double>& metrics);
  void say_alarms();

  const RunDirectory& run_;
  const StageSpec& stage_;
  monitor::LiveLine live_;
  monitor::StateFile state_;
  std::optional<monitor::JsonlSink> jsonl_;  // empty on the other ranks
  std::optional<monitor::TensorboardSink> tensorboard_;
  std::unique_ptr<monitor::RedisMonitor> redis_;
  monitor::HealthWatch health_;
  std::string illness_;
  std::filesystem::path measured_;  // the checkpoint
  double checkpoint_mb_ = 0;        // that takes so much
};

}  // namespace sluice::recipes
