// What a stage tells of itself while it runs, and where it goes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "monitor/jsonl_sink.h"
#include "monitor/redis_monitor.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// Where reports of this process go: metrics.jsonl, the terminal, Redis when the recipe has it. Of several
// ranks the first alone has something to say.
class StageMonitor {
 public:
  StageMonitor(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage, int64_t last_step,
               int64_t rank = 0);

  // Fills in stage, steps and the time, and hands the report to every sink.
  void report(int64_t step, int64_t stage_step, std::map<std::string, double> metrics,
              const std::string& note = {});
  // The state hash of Redis: where the run stands, and what the stage adds.
  void show_state(int64_t step, int64_t stage_step, std::map<std::string, std::string> fields = {});
  // A sentence for the person, on its own line and as an event.
  void say(const std::string& text);
  // How many rows of its data the recipe leaves out, where it does.
  void say_left_out(int64_t rows);
  // Prints what Redis has to say, at most when something changed.
  void tick();
  monitor::RedisMonitor* redis() { return redis_.get(); }

 private:
  const StageSpec& stage_;
  std::optional<monitor::JsonlSink> jsonl_;  // empty on the other ranks
  std::unique_ptr<monitor::RedisMonitor> redis_;
};

}  // namespace sluice::recipes
