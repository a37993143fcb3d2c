#include "recipes/internal/reward_models.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"

namespace sluice::recipes::internal {
namespace {

constexpr const char* kStage = "stage";

void check_reward(const rewards::RewardSpec& reward, const std::vector<std::string>& trained) {
  const Json& name = reward.options.at(kStage);
  require<UsageError>(!reward.options.contains("path"), reward.where, ": reward \"", reward.name,
                      "\": `path` and `stage` are two reward models; leave one of them out");
  const bool known = name.is_string() && std::ranges::count(trained, name.get<std::string>()) > 0;
  require<UsageError>(known, reward.where, ": reward \"", reward.name, "\": ", name.dump(),
                      " is no earlier stage of kind reward_model",
                      name.is_string() ? did_you_mean(name.get<std::string>(), trained) : "");
}

void check_stage(const Recipe& recipe, const StageSpec& stage) {
  const auto refuse_unless = [&](bool condition, const char* why) {
    require<UsageError>(condition, "stage ", stage.name, ": ", why);
  };
  refuse_unless(!recipe.model.lora,
                "model.lora has adapters trained and all else frozen, and a reward model's head is new; "
                "train it in a run without model.lora and name its directory as `path`");
  refuse_unless(recipe.model.router_aux_loss == 0.0,
                "model.router_aux_loss is not part of a reward model's loss");
  refuse_unless(stage.batch.append_eos, "batch.append_eos = false: a score stands at the end of sequence");
  refuse_unless(stage.data.use == "jsonl", "data.use is \"jsonl\" where pairs are read");
}

}  // namespace

bool names_a_stage(const rewards::RewardSpec& reward) {
  return reward.use == "reward_model" && reward.options.contains(kStage);
}

void check_reward_models(const Recipe& recipe) {
  std::vector<std::string> trained;
  for (const auto& stage : recipe.stages) {
    for (const auto& reward : stage.rewards) {
      if (names_a_stage(reward)) check_reward(reward, trained);
    }
    if (stage.role != StageRole::RewardModel) continue;
    check_stage(recipe, stage);
    trained.push_back(stage.name);
  }
}

StageSpec with_reward_models(const RunDirectory& run, StageSpec stage) {
  for (auto& reward : stage.rewards) {
    if (!names_a_stage(reward)) continue;
    const auto name = reward.options.at(kStage).get<std::string>();
    const auto result = run.stage_result(name);
    require<DataError>(result.has_value(), "stage ", stage.name, ": reward \"", reward.name, "\": stage ",
                       name, " has left no reward model in ", run.root().string());
    reward.options.erase(kStage);
    reward.options["path"] = (run.root() / result->at("reward_model").get<std::string>()).string();
  }
  return stage;
}

}  // namespace sluice::recipes::internal
