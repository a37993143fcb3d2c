#include "recipes/internal/frozen_policy.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "actors/stop_ids.h"
#include "recipes/internal/stage_context.h"
#include "text/chat_template.h"

namespace sluice::recipes::internal {
namespace {

constexpr std::array<std::string_view, 7> kExact = {
    "exact_answer", "math_answer", "gsm8k", "numeric_answer", "countdown", "multiple_choice", "code_tests"};

std::vector<double> weights_of_exact(const std::vector<rewards::RewardSpec>& rewards) {
  const auto exact = std::ranges::find_if(
      rewards, [](const rewards::RewardSpec& reward) { return std::ranges::count(kExact, reward.use) > 0; });
  if (exact == rewards.end()) return {};
  std::vector<double> weights(rewards.size(), 0.0);
  weights[static_cast<size_t>(exact - rewards.begin())] = 1.0;
  return weights;
}

std::unique_ptr<model::Network> load_frozen(const std::filesystem::path& directory, const Recipe& recipe) {
  auto network = load_network(directory, recipe);
  network->freeze();
  return network;
}

std::set<int32_t> stops_of(const std::filesystem::path& directory, const model::Network& network,
                           const text::Tokenizer& tokenizer) {
  const auto chat = text::load_chat_template(directory);
  return actors::stop_ids(network.config(), &tokenizer, chat ? &*chat : nullptr);
}

}  // namespace

FrozenPolicy::FrozenPolicy(const Recipe& recipe, const StageSpec& stage,
                           const std::filesystem::path& directory)
    : FrozenPolicy(recipe, stage, directory, load_frozen(directory, recipe)) {}

FrozenPolicy::FrozenPolicy(const Recipe& recipe, const StageSpec& stage,
                           const std::filesystem::path& directory, std::unique_ptr<model::Network> network)
    : tokenizer_(text::load_tokenizer(directory)),
      network_(std::move(network)),
      rewards_(make_rewards(recipe, stage)),
      exact_weights_(weights_of_exact(stage.rewards)),
      tools_(make_tools(stage)),
      tool_use_(tool_use_options(stage, directory)),
      stops_(stops_of(directory, *network_, *tokenizer_)) {}

actors::Evaluation FrozenPolicy::ask(const std::vector<text::Row>& rows, actors::EvaluationOptions options,
                                     const StopRequest& stop,
                                     const std::function<void(int64_t)>& progress) const {
  if (!tools_.empty()) {
    options.tools = &tools_;
    options.tool_use = tool_use_;
  }
  return actors::evaluate(*network_, *tokenizer_, rewards_, rows, stops_, options, [&](int64_t done) {
    progress(done);
    return stop() == 0;
  });
}

}  // namespace sluice::recipes::internal
