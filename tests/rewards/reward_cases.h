// One completion and what a scorer says of it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "rewards/reward.h"
#include "tests/base/temp_folder.h"

namespace sluice::rewards {

struct Case {
  text::Row row;
  std::vector<int32_t> tokens;
  bool truncated = false;

  RewardRequest request(std::string completion) const {
    RewardRequest out;
    out.row = &row;
    out.completion = std::move(completion);
    out.tokens = tokens;
    out.truncated = truncated;
    return out;
  }
};

inline RewardSpec spec(const std::string& use, const std::string& options = "{}") {
  RewardSpec out;
  out.use = use;
  out.options = Json::parse(options);
  out.where = "recipe.toml:7:3";
  return out;
}

inline RewardOutcome score(RewardFunction& reward, const Case& from, const std::string& completion) {
  const RewardRequest request = from.request(completion);
  return reward.score({&request, 1}).at(0);
}

}  // namespace sluice::rewards
