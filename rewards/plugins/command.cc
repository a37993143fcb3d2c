// command: any program that speaks the protocol (docs/rewards_protocol.md).
#include "rewards/internal/scorers.h"
#include "rewards/plugins/entry_options.h"
#include "rewards/plugins/process_reward.h"

namespace sluice::rewards::internal {

std::unique_ptr<RewardFunction> make_command(const RewardSpec& spec, const RewardResources&) {
  return plugins::make_process_reward(spec, plugins::entry_command(spec.options, speaker(spec)));
}

}  // namespace sluice::rewards::internal
