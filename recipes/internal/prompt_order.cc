#include "recipes/internal/prompt_order.h"

#include <algorithm>
#include <utility>

namespace sluice::recipes::internal {
namespace {

// The mean reward of a group that was hard, but not hopeless.
std::optional<double> hardness(const std::vector<std::optional<double>>& rewards, double below) {
  double sum = 0.0, best = 0.0;
  int64_t count = 0;
  for (const auto& reward : rewards) {
    if (!reward) continue;
    sum += *reward;
    best = std::max(best, *reward);
    ++count;
  }
  if (count == 0 || best <= 0.0 || sum / static_cast<double>(count) >= below) return std::nullopt;
  return sum / static_cast<double>(count);
}

}  // namespace

PromptOrder::PromptOrder(EpochOrder order, const ReplayOptions& options, Replays replays)
    : options_(options), order_(std::move(order)), replays_(std::move(replays)) {}

std::optional<int64_t> PromptOrder::replayed(uint64_t group, int64_t step) const {
  const auto found = replays_.find(step);
  const auto place = group % static_cast<uint64_t>(options_.prompts_per_step);
  if (found == replays_.end() || place >= found->second.size()) return std::nullopt;
  return found->second[place];
}

int64_t PromptOrder::row(uint64_t group, int64_t step) {
  const std::lock_guard lock(mutex_);
  if (const auto again = replayed(group, step)) return *again;
  return order_.at(static_cast<int64_t>(group));
}

int64_t PromptOrder::trained(const learner::TrainingBatch& batch, int64_t step) {
  const std::lock_guard lock(mutex_);
  int64_t asked_again = 0;
  std::vector<std::pair<double, int64_t>> hard;  // mean reward, row
  for (size_t g = 0; g < batch.groups.size(); ++g) {
    const auto& group = batch.groups[g];
    const auto again = replayed(group.group, group.step);
    asked_again += again ? 1 : 0;
    const auto mean = hardness(batch.rewards[g], options_.below);
    if (mean) hard.emplace_back(*mean, again ? *again : order_.at(static_cast<int64_t>(group.group)));
  }
  std::ranges::sort(hard);
  const auto places = static_cast<size_t>(options_.share * static_cast<double>(options_.prompts_per_step));
  hard.resize(std::min(hard.size(), places));
  replays_.erase(replays_.begin(), replays_.lower_bound(step - options_.staleness));  // nobody asks any more
  auto& rows = replays_[step + 1 + options_.staleness];
  rows.clear();
  for (const auto& [mean, row] : hard) rows.push_back(row);
  return asked_again;
}

PromptOrder::Replays PromptOrder::replays_from(int64_t step) const {
  const std::lock_guard lock(mutex_);
  return {replays_.lower_bound(step), replays_.end()};
}

}  // namespace sluice::recipes::internal
