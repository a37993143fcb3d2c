// command: any program that speaks the protocol (docs/rewards_protocol.md).
#include "rewards/internal/scorers.h"
#include "rewards/plugins/process_reward.h"
#include "rewards/plugins/words.h"

namespace sluice::rewards::internal {

std::unique_ptr<RewardFunction> make_command(const RewardSpec& spec, const RewardResources&) {
  require<UsageError>(spec.options.contains("command"), speaker(spec), ": give the program as `command`");
  auto words = plugins::command_words(spec.options.at("command"));
  // A name without a slash is looked up on PATH.
  if (words.front().find('/') != std::string::npos)
    words.front() = (plugins::folder_of(spec) / words.front()).string();
  return plugins::make_process_reward(spec, std::move(words));
}

}  // namespace sluice::rewards::internal
