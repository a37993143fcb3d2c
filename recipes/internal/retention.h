// Which checkpoints of a stage are kept, and which of them is the best.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>

#include "learner/policy_learner.h"
#include "recipes/checkpoint.h"

namespace sluice::recipes::internal {

// Mean of one metric over the steps between two checkpoints; a single step's says little.
class Score {
 public:
  explicit Score(std::string metric) : metric_(std::move(metric)) {}  // "": none is kept

  void add(const learner::StepMetrics& metrics);
  // Of the steps since the last call; empty when none of them had it.
  std::optional<double> take();
  // "" unless a metric is wanted that no step has had so far; then a sentence with the nearest one.
  std::string problem() const;

 private:
  const std::string metric_;
  std::set<std::string> seen_;
  double sum_ = 0;
  int64_t count_ = 0;
};

// Lets the link `best` name the best checkpoint of the stage of `written`, and removes those of the stage
// before `written` that nothing of `keep` keeps. What cannot be read is left for a person to look at, and
// counts for nothing.
void retain(const std::filesystem::path& checkpoints, const CheckpointState& written,
            const CheckpointSpec& keep);

// The stage step of the `count`-th newest checkpoint of the stage; 0 where there are fewer.
int64_t step_of_newest(const std::filesystem::path& checkpoints, const std::string& stage, int64_t count);

}  // namespace sluice::recipes::internal
