// What a supervised stage says of the examples that were held out.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "model/network.h"
#include "recipes/recipe.h"
#include "recipes/stages.h"
#include "text/chat_template.h"
#include "text/dataset.h"
#include "text/tokenizer.h"

namespace sluice::recipes {

// eval_loss, in nats a token, eval_mean_token_accuracy and eval_num_tokens.
using HeldOutFigures = std::map<std::string, double>;
// "eval_loss 1.53 nats a token, ..."
std::string describe(const HeldOutFigures& figures);

// Of a stage with evaluation.every; of another it is never due. Tokenizer and template outlive it.
class HeldOutLoss {
 public:
  HeldOutLoss(const StageSpec& stage, const text::Tokenizer& tokenizer, const text::ChatTemplate* chat);

  // Every so many steps, and at the end.
  bool is_due(int64_t done) const;
  // Empty when `stop` asked for it. Throws DataError when no example has a target.
  std::optional<HeldOutFigures> measure(const model::Network& network, const StopRequest& stop) const;

 private:
  const StageSpec& stage_;
  const text::Tokenizer& tokenizer_;
  const text::ChatTemplate* const chat_;
  const std::unique_ptr<text::Rows> rows_;  // null: it is never due
};

}  // namespace sluice::recipes
