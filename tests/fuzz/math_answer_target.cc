#include "rewards/internal/scorers.h"
#include "rewards/math/answer.h"
#include "rewards/math/budget.h"
#include "tests/fuzz/targets.h"

namespace sluice::fuzz {
namespace {

std::optional<double> score_of(const std::string& gold, const std::string& completion) {
  static const auto reward = rewards::internal::make_math_answer({.use = "math_answer"}, {});
  text::Row row;
  row.columns["answer"] = gold;
  rewards::RewardRequest request;
  request.row = &row;
  request.completion = completion;
  return reward->score({&request, 1}).at(0).score;
}

}  // namespace

void compare_math_answers(std::string_view bytes) {
  const size_t line = std::min(bytes.find('\n'), bytes.size());
  const std::string gold(bytes.substr(0, line)), completion(bytes.substr(std::min(line + 1, bytes.size())));
  const auto verdict = rewards::math::compare(completion, gold);
  must_hold(verdict.steps <= rewards::math::kMaxSteps, "more steps than allowed");
  const auto again = rewards::math::compare(completion, gold);
  must_hold(verdict.same == again.same && verdict.readable == again.readable && verdict.steps == again.steps,
            "another verdict the second time");
  const auto score = score_of(gold, completion);
  must_hold(!score || *score == 0.0 || *score == 1.0, "a score between wrong and right");
  rewards::math::is_number(completion);
}

}  // namespace sluice::fuzz
