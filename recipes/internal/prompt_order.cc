#include "recipes/internal/prompt_order.h"

#include <algorithm>
#include <utility>

#include "buffers/group_id.h"

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

PromptOrder::PromptOrder(EpochOrder order, int64_t num_slots, const ReplayOptions& options)
    : order_(std::move(order)), num_slots_(num_slots), options_(options) {}

int64_t PromptOrder::at(uint64_t group) {
  const int64_t refill = buffers::refill_of(group);
  auto& order = by_refill_.try_emplace(refill, order_).first->second;
  return order.at(refill * num_slots_ + static_cast<int64_t>(buffers::slot_of(group)));
}

std::optional<int64_t> PromptOrder::replayed(uint64_t group, int64_t step) const {
  if (buffers::refill_of(group) > 0) return std::nullopt;
  const auto per_step = static_cast<uint64_t>(options_.prompts_per_step);
  const auto found = replays_.find(step);
  const auto place = group % per_step;
  if (found == replays_.end() || place >= found->second.size()) return std::nullopt;
  // One that moved up to this step in place of a lost one has another's place.
  if (group / per_step != static_cast<uint64_t>(step)) return std::nullopt;
  return found->second[place];
}

int64_t PromptOrder::row(uint64_t group, int64_t step) {
  const std::lock_guard lock(mutex_);
  const auto again = replayed(group, step);
  return again ? *again : at(group);
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
    if (mean) hard.emplace_back(*mean, again ? *again : at(group.group));
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

Json PromptOrder::state(int64_t step) const {
  const std::lock_guard lock(mutex_);
  Json state = Json::array();
  for (auto coming = replays_.lower_bound(step); coming != replays_.end(); ++coming)
    state.push_back({{"step", coming->first}, {"rows", coming->second}});
  return state;
}

void PromptOrder::load(const Json& state, std::string_view where) {
  const std::lock_guard lock(mutex_);
  replays_.clear();
  for (const auto& coming : state) {
    replays_[json_member<int64_t>(coming, "step", where)] =
        json_member<std::vector<int64_t>>(coming, "rows", where);
  }
}

}  // namespace sluice::recipes::internal
