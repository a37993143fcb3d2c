// exact_answer: 1 when the completion is the answer in the row's column, white space around both left aside.
//
// A column that is a number or a truth value is compared by its JSON text. A row without a usable column is
// unscored: it says nothing about the completion.
#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

class ExactAnswer final : public CompletionReward {
 public:
  explicit ExactAnswer(const RewardSpec& spec)
      : CompletionReward(spec),
        column_(option<std::string>(spec, "column", "answer")),
        ignore_case_(option<bool>(spec, "ignore_case", false)) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto answer = column_text(request, column_);
    if (!answer.problem.empty()) return RewardOutcome::unscored(answer.problem);
    const std::string_view given = trim(request.completion);
    const bool same = ignore_case_ ? lower(given) == lower(answer.text) : given == answer.text;
    return RewardOutcome::scored(same ? 1.0 : 0.0);
  }

  const std::string column_;
  const bool ignore_case_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_exact_answer(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<ExactAnswer>(spec);
}

}  // namespace sluice::rewards::internal
