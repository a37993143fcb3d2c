// numeric_answer: 1 when the completion's number is the one in the row's column, within a tolerance.
//
// The number is what the completion marks as its answer (final_answer.h), a unit or words behind it left out;
// where nothing is marked, the last number in it. Right is |given - gold| <= max(tolerance * |gold|,
// absolute). A row whose column is not one number is unscored.
//
//   right                          against   because
//   The answer is 3.1416.           3.14159   within 1e-5 of it, with tolerance = 1e-4
//   #### 1,234.50                   1234.5    separators of thousands
//   \boxed{\frac{1}{3}}             0.333333  a fraction is a number
//   She pays $5 and he pays $18.    18        nothing is marked: the last number
//   <answer>18 apples</answer>      18        a unit is left out
//   Answer: 2.5 million             2500000   a word that multiplies
//   <answer>17 or 18</answer>       (wrong)   what is marked is to be one number
#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"
#include "rewards/math/answer.h"

namespace sluice::rewards::internal {
namespace {

// The last number as it stands in prose: a sign, digits with commas and a point. Empty where there is none.
std::string_view last_number(std::string_view text) {
  size_t end = text.size();
  while (end > 0 && !is_digit(text[end - 1])) --end;
  size_t begin = end;
  if (end == 0) return {};
  const auto inside = [&](size_t at) {
    return is_digit(text[at]) || ((text[at] == '.' || text[at] == ',') && is_digit(text[at + 1]));
  };
  while (begin > 0 && inside(begin - 1)) --begin;
  if (text[begin] == ',') ++begin;
  const std::string_view before = text.substr(0, begin);
  if (before.ends_with("-$")) return text.substr(begin - 2, end - begin + 2);
  // In "10-3" it is no sign.
  const bool negative = before.ends_with('-') && (begin == 1 || !is_digit(text[begin - 2]));
  return text.substr(begin - (negative ? 1 : 0), end - begin + (negative ? 1 : 0));
}

class NumericAnswer final : public CompletionReward {
 public:
  explicit NumericAnswer(const RewardSpec& spec)
      : CompletionReward(spec),
        column_(option<std::string>(spec, "column", "answer")),
        tolerance_{.relative = option<double>(spec, "tolerance", 1e-6),
                   .absolute = option<double>(spec, "absolute", 0.0)} {
    require<UsageError>(tolerance_.relative >= 0.0 && tolerance_.relative < 1.0, speaker(spec),
                        ": tolerance is a share of the right number from 0 to below 1, saw ",
                        tolerance_.relative);
    require<UsageError>(tolerance_.absolute >= 0.0, speaker(spec), ": absolute is 0 or more, saw ",
                        tolerance_.absolute);
  }

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto column = column_text(request, column_);
    if (!column.problem.empty()) return RewardOutcome::unscored(column.problem);
    const auto gold = final_answer(column.text).text;
    if (!math::is_number(gold)) {
      return RewardOutcome::unscored("column \"" + column_ + "\" is no number at " + request.row->where());
    }
    auto given = final_answer(request.completion);
    if (!given.marked && !math::is_number(given.text)) given.text = last_number(given.text);
    const auto verdict = math::compare(given.text, gold, tolerance_);
    return RewardOutcome::scored(verdict.same ? 1.0 : 0.0,
                                 {{"number", math::is_number(given.text) ? 1.0 : 0.0}});
  }

  const std::string column_;
  const math::Tolerance tolerance_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_numeric_answer(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<NumericAnswer>(spec);
}

}  // namespace sluice::rewards::internal
