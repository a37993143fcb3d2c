// The stages of a recipe, run one at a time by the learner role, and the actor role beside them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/error.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"
#include "rewards/canaries.h"
#include "rewards/reward_mix.h"
#include "rewards/tools.h"
#include "transport/collective.h"

namespace sluice::recipes {

// How the process is asked to stop: the number of the signal, or 0.
using StopRequest = std::function<int()>;

// Ends the learner of a stage that is to begin again from its newest checkpoint; the supervisor starts it
// anew.
struct BeginAgain : Error {
  static constexpr int kStatus = 6;  // of the process: between these two alone
  explicit BeginAgain(const std::string& message) : Error(message, static_cast<ExitCode>(kStatus)) {}
};

// The scorers of a stage; reads its training part where one of them wants it.
rewards::RewardMix make_rewards(const Recipe& recipe, const StageSpec& stage);
// The tools that its completions may call. Throws as rewards::Toolbox does.
rewards::Toolbox make_tools(const StageSpec& stage);

// The known scores that they are watched by, if any.
rewards::Canaries make_canaries(const StageSpec& stage);

// Runs a stage from the newest checkpoint to its end and leaves its result. Returns 0, or the signal that
// stopped it after it finished its step and wrote a checkpoint. Prints one line a step. Throws HealthError
// for numbers that are not worth going on with, BeginAgain the first time where that may help.
//
// Where several processes train the stage, `rank` says which this is and how they meet; a size or a time-out
// of 0 is the recipe's. All but rank 0 print nothing and do as that does.
int run_stage(const RunDirectory& run, const std::string& stage, const StopRequest& stop,
              const transport::RankOptions& rank);

// Serves a stage with rollouts until the learner says stop. Returns 0 or the signal that stopped it.
int run_actor(const RunDirectory& run, const std::string& stage, int64_t index, const StopRequest& stop);

}  // namespace sluice::recipes
