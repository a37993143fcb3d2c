#include "recipes/internal/held_out_reward.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/shared_work.h"
#include "recipes/internal/frozen_policy.h"
#include "recipes/internal/stage_context.h"

namespace sluice::recipes {
namespace {

std::vector<text::Row> held_out_rows(StageSpec stage, const std::filesystem::path& model) {
  std::vector<text::Row> rows;
  if (stage.evaluation.every == 0) return rows;
  stage.role = StageRole::Evaluation;
  const auto all = open_prompts(stage, model);
  const int64_t limit = stage.evaluation.prompts;
  const int64_t count = limit == 0 ? all->size() : std::min(limit, all->size());
  require<DataError>(count > 0, "stage ", stage.name, ": evaluation.every = ", stage.evaluation.every,
                     ", and ", stage.data.path.string(), " has no held-out prompt");
  for (int64_t i = 0; i < count; ++i) rows.push_back(all->at(i));
  return rows;
}

}  // namespace

HeldOutReward::HeldOutReward(const Recipe& recipe, const StageSpec& stage, std::filesystem::path model)
    : recipe_(recipe), stage_(stage), model_(std::move(model)), rows_(held_out_rows(stage, model_)) {}

bool HeldOutReward::is_due(int64_t done) const {
  const bool first = done == 1, last = done == stage_.steps;
  return !rows_.empty() && (first || last || done % stage_.evaluation.every == 0);
}

std::optional<std::map<std::string, double>> HeldOutReward::measure(
    const model::Network& shape, const at::Tensor& flat, const std::function<bool()>& goes_on) const {
  auto network = network_with(shape, flat, recipe_);
  network->freeze();
  const internal::FrozenPolicy policy(recipe_, stage_, model_, std::move(network));
  actors::EvaluationOptions options{
      .sampling = stage_.rollout.sampling,
      .engine = {.threads = work_threads(), .reproducible = recipe_.deterministic}};
  options.sampling.temperature = 0;
  bool stopped = false;
  const auto found = policy.ask(
      rows_, options, [&] { return stopped ? 1 : 0; }, [&](int64_t) { stopped = !goes_on(); });
  if (!found.complete) return std::nullopt;

  const auto& rewards = policy.rewards();
  const auto all = found.reward(rewards.weights());
  std::map<std::string, double> figures{{"eval_prompts", static_cast<double>(all.n)}};
  if (all.n > 0) figures["eval_reward"] = all.value;
  for (size_t k = 0; k < stage_.rewards.size(); ++k) {
    std::vector<double> alone(stage_.rewards.size(), 0.0);
    alone[k] = 1.0;
    const auto mean = found.reward(alone);
    if (mean.n == 0) continue;
    figures["eval_rewards/" + rewards.names()[k] + "/mean"] = mean.value;
    if (alone == policy.exact_weights()) figures["eval_exact"] = mean.value;
  }
  return figures;
}

}  // namespace sluice::recipes
