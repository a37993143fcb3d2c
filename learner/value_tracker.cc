#include "learner/value_tracker.h"

#include <cmath>
#include <optional>

#include "base/error.h"
#include "base/files.h"

namespace sluice::learner {
namespace {

constexpr size_t kKeyDigits = 16;

std::string key_of(const std::string& prompt) { return sha256_hex(prompt).substr(0, kKeyDigits); }

struct Total {
  double sum = 0.0, count = 0.0;

  void add(const std::vector<std::optional<double>>& rewards) {
    for (const auto& reward : rewards) {
      if (!reward) continue;
      sum += *reward;
      ++count;
    }
  }
};

}  // namespace

ValueTracker::ValueTracker(double memory) : memory_(memory) {
  require(memory >= 0.0 && memory < 1.0, "ValueTracker: a memory of ", memory);
}

double ValueTracker::usual(const GroupRewards& rewards) const {
  if (count_ > 0.0) return sum_ / count_;
  Total step;
  for (const auto& group : rewards) step.add(group);
  return step.count > 0.0 ? step.sum / step.count : 0.0;
}

std::vector<double> ValueTracker::baselines(const std::vector<std::string>& prompts,
                                            const GroupRewards& rewards) const {
  require(prompts.size() == rewards.size(), "ValueTracker: ", prompts.size(), " prompts, ", rewards.size(),
          " groups");
  const double unseen = usual(rewards);
  std::vector<double> baselines;
  for (const auto& prompt : prompts) {
    const auto found = values_.find(key_of(prompt));
    baselines.push_back(found == values_.end() ? unseen : found->second.mean);
  }
  return baselines;
}

void ValueTracker::learn(const std::vector<std::string>& prompts, const GroupRewards& rewards) {
  require(prompts.size() == rewards.size(), "ValueTracker: ", prompts.size(), " prompts, ", rewards.size(),
          " groups");
  const double unseen = usual(rewards);
  for (size_t g = 0; g < prompts.size(); ++g) {
    Total group;
    group.add(rewards[g]);
    if (group.count == 0.0) continue;
    auto& value = values_.try_emplace(key_of(prompts[g]), Value{unseen, 1.0}).first->second;
    const double before = memory_ * value.count;
    value.count = before + group.count;
    value.mean = (before * value.mean + group.sum) / value.count;
    sum_ += group.sum;
    count_ += group.count;
  }
}

Json ValueTracker::state() const {
  Json values = Json::object();
  for (const auto& [key, value] : values_) values[key] = {value.mean, value.count};
  return {{"sum", sum_}, {"count", count_}, {"prompts", std::move(values)}};
}

void ValueTracker::load(const Json& state, std::string_view where) {
  sum_ = json_member<double>(state, "sum", where);
  count_ = json_member<double>(state, "count", where);
  const auto prompts = json_member<Json>(state, "prompts", where);
  values_.clear();
  for (const auto& [key, value] : prompts.items()) {
    const auto numbers = json_member<std::vector<double>>(prompts, key, where);
    require<DataError>(key.size() == kKeyDigits && numbers.size() == 2 && numbers[1] > 0.0, where,
                       ": the value of prompt ", key, " is ", value.dump());
    values_[key] = {numbers[0], numbers[1]};
  }
}

}  // namespace sluice::learner
