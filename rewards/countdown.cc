// countdown: 1 when the last <answer>...</answer> holds an expression that makes the row's `target` of its
// `numbers`, each of them used exactly once.
//
// It is computed with fractions, never with floating point: (1/3)*3 is 1 and 8/(3-8/3) is 24. A row without
// usable columns is unscored: it says nothing about the completion.
#include <algorithm>
#include <optional>

#include "rewards/internal/expression.h"
#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

bool makes(const Expression& expression, std::vector<int64_t> numbers, int64_t target) {
  auto used = expression.numbers;
  std::ranges::sort(used);
  std::ranges::sort(numbers);
  return used == numbers && expression.value && expression.value->bottom == 1 &&
         expression.value->top == target;
}

class Countdown final : public CompletionReward {
 public:
  explicit Countdown(const RewardSpec& spec)
      : CompletionReward(spec), format_score_(option<double>(spec, "format_score", 0.0)) {
    require<UsageError>(format_score_ >= 0.0 && format_score_ < 1.0, speaker(spec),
                        ": format_score is from 0 to below 1, what a right answer gives; saw ",
                        format_score_);
  }

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const Json& columns = request.row->columns;
    const auto numbers = columns.find("numbers"), target = columns.find("target");
    if (numbers == columns.end() || !numbers->is_array() || numbers->empty() ||
        !std::ranges::all_of(*numbers, [](const Json& n) { return n.is_number_integer(); })) {
      return unusable(request, "numbers", "a list of whole numbers");
    }
    if (target == columns.end() || !target->is_number_integer()) {
      return unusable(request, "target", "a whole number");
    }
    const auto answer = last_tagged(request.completion);
    const auto expression = answer ? parse_expression(*answer) : std::nullopt;
    const bool correct =
        expression && makes(*expression, numbers->get<std::vector<int64_t>>(), target->get<int64_t>());
    return RewardOutcome::scored(correct ? 1.0 : (expression ? format_score_ : 0.0),
                                 {{"format", expression ? 1.0 : 0.0}, {"correct", correct ? 1.0 : 0.0}});
  }

  static RewardOutcome unusable(const RewardRequest& request, const std::string& column,
                                const std::string& wanted) {
    return RewardOutcome::unscored("column \"" + column + "\" is not " + wanted + " at " +
                                   request.row->where());
  }

  const double format_score_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_countdown(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<Countdown>(spec);
}

}  // namespace sluice::rewards::internal
