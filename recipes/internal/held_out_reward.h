// What a policy under training earns on prompts that were held out: whether it learns what was meant, or how
// to please its rewards.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/network.h"
#include "recipes/recipe.h"
#include "text/dataset.h"

namespace sluice::recipes {

class HeldOutReward {
 public:
  // Of a policy stage with evaluation.every; of another it is never due. `model` has the tokenizer and the
  // chat template. Recipe and stage outlive it.
  HeldOutReward(const Recipe& recipe, const StageSpec& stage, std::filesystem::path model);

  // Behind the first step, every so many, and at the end.
  bool is_due(int64_t done) const;

  // One greedy completion of each prompt by a network of this shape and device with the weights `flat`:
  // eval_reward, eval_rewards/NAME/mean, eval_prompts and, where one of the rewards compares with a right
  // answer, its mean again as eval_exact. Asks `goes_on` again and again; empty where that said no.
  std::optional<std::map<std::string, double>> measure(const model::Network& shape, const at::Tensor& flat,
                                                       const std::function<bool()>& goes_on) const;

 private:
  const Recipe& recipe_;
  const StageSpec& stage_;
  const std::filesystem::path model_;
  const std::vector<text::Row> rows_;  // none: it is never due
};

}  // namespace sluice::recipes
