// state.json: how a run stands between two steps, for whoever looks.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/stopwatch.h"
#include "monitor/redis_monitor.h"

namespace sluice::monitor {

class StateFile {
 public:
  explicit StateFile(std::filesystem::path file) : file_(std::move(file)) {}

  // {"schema", "wall_time", "state": {...}, "actors": {NAME: {...}}}. However often it is called, it is
  // written once a second or, where writing and reading then take below half a hundredth of the time, more
  // often: a call in between writes nothing, unless it is the `last`. Returns "" or why it could not, once
  // until it can again: a run needs none.
  std::string write(const std::map<std::string, std::string>& state, const std::vector<ActorState>& actors,
                    bool last);

 private:
  const std::filesystem::path file_;
  Stopwatch since_;      // the last was begun
  double rest_s_ = 0;    // from then on
  std::string problem_;  // that was told
};

}  // namespace sluice::monitor
