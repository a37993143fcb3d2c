// What a person wants to know of a built-in scorer: its options, how a recipe names it, and what it says of
// examples. `sluice reward explain` and docs/rewards.md print this; the tests score every case.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::rewards {

struct RewardGuide {
  struct Option {
    std::string key;
    std::string fallback;  // as a recipe writes it; empty: none
    std::string meaning;
  };
  struct Case {
    std::string completion;
    std::optional<double> score;  // empty: unscored
    std::string because = {};
    Json columns = Json::object();  // of the row
    Json options = Json::object();
    int64_t tokens = 0;  // how many were sampled, where that matters
  };

  std::string name;
  std::string recipe;  // an entry of `rewards`
  std::vector<Option> options;
  std::vector<Case> cases;
  std::string training_text = {};  // that the cases go by
};

// Of every scorer that is built in; plug-ins have docs/rewards_protocol.md.
const std::vector<RewardGuide>& reward_guides();

// As Markdown whose tables are laid out for a terminal: heading, `summary`, recipe, options, cases.
std::string to_markdown(const RewardGuide& guide, const std::string& summary);

}  // namespace sluice::rewards
