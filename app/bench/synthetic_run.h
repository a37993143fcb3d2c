// What a run that is none tells of itself.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "monitor/redis_monitor.h"
#include "monitor/step_report.h"

namespace sluice::app {

// As a learner has it of its actors, and of a step with 100 metrics. Others at every tick.
std::vector<monitor::ActorState> actors_at(int64_t count, int64_t tick);
monitor::StepReport step_at(int64_t tick);

// What redis-cli answers to these words, without the end of its last line. Throws EnvironmentError when it
// does not.
std::string redis_cli(const std::filesystem::path& socket, std::vector<std::string> words,
                      const std::filesystem::path& output);

}  // namespace sluice::app
