// Takes a recorded step of a run again and holds what comes out against what the run wrote of it.
//
// The stage itself takes it, as a resumed run would: from the newest whole checkpoint before the step, with
// the batches of the journal, in a temporary run directory that is the run as it stood then. No actor is
// asked. Reads only of the run, and may be asked of one that goes on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "recipes/run_directory.h"
#include "recipes/stages.h"

namespace sluice::recipes {

// What is to be the same twice: a member of a line of metrics.jsonl, the ids of a batch ("groups"), or the
// SHA-256 of a file. Null where it is not there.
struct ReplayedValue {
  std::string name;
  Json recorded, recomputed;

  bool equal() const { return recorded == recomputed; }
};

struct ReplayedStep {
  int64_t step = 0;  // of the run
  // All that the run or its replay says of it, but what is of the moment and of the process: wall_time,
  // step_time, tokens_per_s, and what begins with time/, queue/, law/ or logprob_diff/ (which is measured of
  // a process's first group). Numbers are held against each other to the last bit.
  std::vector<ReplayedValue> values;
};

struct Replay {
  std::string stage;
  std::string from;                 // name of the checkpoint it began with
  std::vector<ReplayedStep> steps;  // from the one behind that checkpoint to the one asked for
  // Every file of the step's checkpoint that holds tensors: weights, moments, and what else the stage trains.
  std::vector<ReplayedValue> tensors;
  std::string no_tensors;  // why there is none to compare, or ""

  bool equal() const;
};

// `step` counts through the whole run. Prints what the stage prints, and takes room for a checkpoint where
// temporary files go. Empty when `stop` ended it before the step was done. Throws UsageError for a step that
// the recipe does not have, DataError where the run's files do not allow it: it says what is missing, and
// which steps can be taken again.
std::optional<Replay> replay(const RunDirectory& run, int64_t step, const StopRequest& stop);

}  // namespace sluice::recipes
