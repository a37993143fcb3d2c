#include "recipes/internal/frozen_policy.h"

#include <utility>

#include "actors/stop_ids.h"
#include "recipes/internal/stage_context.h"
#include "text/chat_template.h"

namespace sluice::recipes::internal {
namespace {

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
