// A policy that is only asked: what evaluations and rejection sampling have in common.
#pragma once

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "actors/evaluator.h"
#include "model/network.h"
#include "recipes/recipe.h"
#include "recipes/stages.h"
#include "rewards/reward_mix.h"
#include "text/tokenizer.h"

namespace sluice::recipes::internal {

class FrozenPolicy {
 public:
  // A model directory, computed with as the recipe says, and the rewards and tools of the stage.
  FrozenPolicy(const Recipe& recipe, const StageSpec& stage, const std::filesystem::path& directory);
  // The same with other weights, frozen ones.
  FrozenPolicy(const Recipe& recipe, const StageSpec& stage, const std::filesystem::path& directory,
               std::unique_ptr<model::Network> network);

  // Completions of the rows, with the stage's tools, scored. They are not complete when `stop` asked for it.
  // `progress` is told how many rows are done.
  actors::Evaluation ask(const std::vector<text::Row>& rows, actors::EvaluationOptions options,
                         const StopRequest& stop, const std::function<void(int64_t)>& progress) const;

  const model::Network& network() const { return *network_; }
  const rewards::RewardMix& rewards() const { return rewards_; }
  // The weights that count the first of its rewards that compares with a right answer, and is pleased by
  // nothing else, alone; none where there is no such one. What it earns is what people call exact.
  const std::vector<double>& exact_weights() const { return exact_weights_; }

 private:
  const std::unique_ptr<text::Tokenizer> tokenizer_;
  const std::unique_ptr<model::Network> network_;
  const rewards::RewardMix rewards_;
  const std::vector<double> exact_weights_;
  const rewards::Toolbox tools_;
  const actors::ToolUseOptions tool_use_;
  const std::set<int32_t> stops_;
};

}  // namespace sluice::recipes::internal
