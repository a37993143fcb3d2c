#include "recipes/internal/reward_columns.h"

#include <algorithm>
#include <set>
#include <string>

#include "base/error.h"
#include "base/nearest.h"
#include "rewards/reward_guide.h"

namespace sluice::recipes::internal {
namespace {

// What `column` is for the reward; "" where it reads none, or is no built-in one and says nothing of it.
std::string column_of(const rewards::RewardSpec& reward) {
  const auto& guides = rewards::reward_guides();
  const auto guide = std::ranges::find(guides, reward.use, &rewards::RewardGuide::name);
  if (guide == guides.end()) return "";
  const auto option = std::ranges::find(guide->options, "column", &rewards::RewardGuide::Option::key);
  if (option == guide->options.end()) return "";
  const auto given = reward.options.find("column");
  if (given != reward.options.end()) return given->get<std::string>();
  return option->fallback.empty() ? "" : Json::parse(option->fallback).get<std::string>();
}

// Of "reward_model.ground_truth", a member of a column, that column.
bool has(const std::set<std::string>& columns, const std::string& column) {
  return columns.contains(column) || columns.contains(column.substr(0, column.find('.')));
}

// All of them, or those up to the first row that has `column`.
std::set<std::string> columns_until(text::Rows& rows, const std::string& column) {
  std::set<std::string> columns;
  for (int64_t i = 0; i < rows.size() && !has(columns, column); ++i) {
    const auto row = rows.at(i);
    for (const auto& [name, value] : row.columns.items()) columns.insert(name);
  }
  return columns;
}

}  // namespace

void check_reward_columns(const StageSpec& stage, text::Rows& rows) {
  for (const auto& reward : stage.rewards) {
    const auto column = column_of(reward);
    if (column.empty()) continue;
    const auto there = columns_until(rows, column);
    if (has(there, column)) continue;
    std::string listed;
    for (const auto& name : there) listed += (listed.empty() ? "" : ", ") + name;
    fail<UsageError>(reward.where, ": the reward ", reward.name, " reads the column \"", column,
                     "\", and no row of ", stage.data.path.string(), " has it: they have ", listed,
                     did_you_mean(column, there));
  }
}

}  // namespace sluice::recipes::internal
