#include "rewards/reward.h"

#include <utility>

namespace sluice::rewards {

RewardOutcome RewardOutcome::scored(double score, std::map<std::string, double> parts) {
  RewardOutcome outcome;
  outcome.score = score;
  outcome.parts = std::move(parts);
  return outcome;
}

RewardOutcome RewardOutcome::unscored(std::string reason) {
  RewardOutcome outcome;
  outcome.unscored_reason = reason.empty() ? "no reason given" : std::move(reason);
  return outcome;
}

}  // namespace sluice::rewards
