// What `sluice reward test` scores: the scorers that its argument means, and the completions.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "rewards/reward_mix.h"
#include "text/dataset.h"

namespace sluice::app {

struct TrialArguments {
  std::string tested;                 // a recipe, or what reward_spec() takes
  std::vector<std::string> settings;  // KEY=VALUE: of the recipe, or the scorer's options
  std::string stage;                  // of the recipe; empty: the first that has rewards
  std::string file;                   // of completions; empty: the recipe's gold answers
  int64_t rows = 0;                   // 0: all of a file, four of a dataset
};

struct TrialRow {
  text::Row row;
  std::string completion;
  std::vector<int32_t> ids;  // of the completion, where they are known
  std::string gold;          // for people; empty where the row has none
  std::string problem;       // why there is nothing to score; or empty
};

struct Trial {
  std::vector<rewards::RewardSpec> scorers;
  // A mix of some of them, as the stage would have it.
  std::function<rewards::RewardMix(const std::vector<rewards::RewardSpec>&)> mix;
  std::vector<TrialRow> rows;
};

// Throws UsageError for an argument that means nothing and options that no scorer takes, DataError naming
// file and line for data that cannot be read.
Trial open_trial(const TrialArguments& arguments);

// The scorer that a word on the command line means: its name, or a plug-in by the looks of it (my.py,
// my.py:function, judge.so, http://..., a program). Throws UsageError with the nearest name.
rewards::RewardSpec reward_spec(const std::string& word, const std::vector<std::string>& settings);

}  // namespace sluice::app
