#include "rewards/reward_mix.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <sstream>

#include "base/error.h"
#include "base/failpoint.h"

namespace sluice::rewards {
namespace {

std::vector<RewardOutcome> all_unscored(size_t n, const std::string& reason) {
  return std::vector<RewardOutcome>(n, RewardOutcome::unscored(reason));
}

template <class... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

// The outcome itself when it keeps to the contract, else one that says how it does not.
RewardOutcome checked(const std::string& name, RewardOutcome outcome) {
  if (!outcome.score) {
    if (outcome.unscored_reason.empty()) {
      return RewardOutcome::unscored(name + " gave neither a score nor a reason");
    }
    return RewardOutcome::unscored(std::move(outcome.unscored_reason));
  }
  if (!std::isfinite(*outcome.score)) return RewardOutcome::unscored(text(name, " gave ", *outcome.score));
  for (const auto& [part, value] : outcome.parts) {
    if (!std::isfinite(value)) return RewardOutcome::unscored(text(name, " gave ", value, " as ", part));
  }
  return RewardOutcome::scored(*outcome.score, std::move(outcome.parts));
}

using Ask = std::vector<RewardOutcome> (RewardFunction::*)(std::span<const RewardRequest>);

std::vector<RewardOutcome> score_safely(RewardFunction& function, Ask ask,
                                        std::span<const RewardRequest> group) {
  const std::string& name = function.name();
  std::vector<RewardOutcome> outcomes;
  try {
    outcomes = (function.*ask)(group);
  } catch (const std::exception& error) {
    return all_unscored(group.size(), name + " failed: " + error.what());
  } catch (...) {
    return all_unscored(group.size(), name + " failed");
  }
  if (outcomes.size() != group.size()) {
    return all_unscored(group.size(),
                        text(name, " gave ", outcomes.size(), " outcomes for a group of ", group.size()));
  }
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (group[i].sample != 0) continue;
    if (const auto score = injected(Failpoint::Reward)) outcomes[i] = RewardOutcome::scored(*score);
  }
  for (auto& outcome : outcomes) outcome = checked(name, std::move(outcome));
  return outcomes;
}

}  // namespace

RewardMix::RewardMix(const std::vector<RewardSpec>& specs, const RewardResources& resources) {
  require<UsageError>(!specs.empty(), "rewards: none is given in the recipe");
  for (const auto& spec : specs) {
    add(make_reward(spec, resources), spec.weight, spec.where);
  }
}

void RewardMix::add(std::unique_ptr<RewardFunction> function, double weight, const std::string& where) {
  const std::string& name = function->name();
  require<UsageError>(std::isfinite(weight), where, ": reward \"", name, "\": weight is ", weight);
  require<UsageError>(std::find(names_.begin(), names_.end(), name) == names_.end(), where,
                      ": two rewards are called \"", name, "\"; give one of them another `name`");
  names_.push_back(name);
  weights_.push_back(weight);
  functions_.push_back(std::move(function));
}

std::vector<std::vector<RewardOutcome>> RewardMix::score(std::span<const RewardRequest> group,
                                                         std::vector<double>* seconds) const {
  std::vector<std::vector<RewardOutcome>> rows(group.size());
  for (auto& row : rows) row.reserve(functions_.size());
  for (size_t k = 0; k < functions_.size(); ++k) {
    const auto began = std::chrono::steady_clock::now();
    auto outcomes = score_group(k, group);
    if (seconds != nullptr)
      seconds->push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count());
    for (size_t i = 0; i < rows.size(); ++i) rows[i].push_back(std::move(outcomes[i]));
  }
  return rows;
}

std::vector<RewardOutcome> RewardMix::score_group(size_t k, std::span<const RewardRequest> group) const {
  return score_safely(*functions_[k], &RewardFunction::score, group);
}

std::vector<RewardOutcome> RewardMix::score_each(size_t k, std::span<const RewardRequest> samples) const {
  return score_safely(*functions_[k], &RewardFunction::score_each, samples);
}

void RewardMix::interrupt() const {
  for (const auto& function : functions_) function->interrupt();
}

std::optional<double> total_reward(std::span<const RewardOutcome> outcomes, std::span<const double> weights) {
  require(outcomes.size() == weights.size(), "total_reward: ", outcomes.size(), " outcomes, ", weights.size(),
          " weights");
  std::optional<double> total;
  for (size_t k = 0; k < outcomes.size(); ++k) {
    if (outcomes[k].score) total = total.value_or(0.0) + weights[k] * *outcomes[k].score;
  }
  require<DataError>(!total || std::isfinite(*total), "total_reward: the weighted sum is ",
                     total.value_or(0.0));
  return total;
}

}  // namespace sluice::rewards
