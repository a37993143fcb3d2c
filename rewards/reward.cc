#include "rewards/reward.h"

#include <exception>
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

std::vector<RewardOutcome> RewardFunction::score_each(std::span<const RewardRequest> samples) {
  std::vector<RewardOutcome> outcomes;
  for (size_t i = 0; i < samples.size(); ++i) {
    try {
      auto one = score(samples.subspan(i, 1));
      outcomes.push_back(one.size() == 1
                             ? std::move(one.front())
                             : RewardOutcome::unscored(name() + " gave " + std::to_string(one.size()) +
                                                       " outcomes for one completion"));
    } catch (const std::exception& error) {
      outcomes.push_back(RewardOutcome::unscored(name() + " failed: " + error.what()));
    } catch (...) {
      outcomes.push_back(RewardOutcome::unscored(name() + " failed"));
    }
  }
  return outcomes;
}

}  // namespace sluice::rewards
