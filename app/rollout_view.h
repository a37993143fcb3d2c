// How the rollouts of a step look on a terminal.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "text/tokenizer.h"

namespace sluice::app {

struct RolloutNames {
  std::string stage;
  std::vector<std::string> rewards;
};

struct RolloutStyle {
  size_t columns = 80;
  bool colour = false;
  bool full = false;  // texts are not cut
};

std::string rollouts_head(const std::string& run, int64_t step, const RolloutNames& names,
                          const RolloutStyle& style);

// One line of rollouts/step_N.jsonl: prompt and completions, as many beside each other as there is room for,
// each with its rewards, its advantage and, where they were recorded, its tokens' log-ratios. Nothing in the
// texts is obeyed by the terminal.
std::string group_view(const Json& group, const RolloutNames& names, const text::Tokenizer* tokenizer,
                       const RolloutStyle& style);

}  // namespace sluice::app
