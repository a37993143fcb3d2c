// exact_answer: 1 when the completion is the answer in the row's column, white space around both left aside.
//
// A column that is a number or a truth value is compared by its JSON text. A row without a usable column is
// unscored: it says nothing about the completion.
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

std::string_view trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n\f\v";
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

class ExactAnswer final : public CompletionReward {
 public:
  explicit ExactAnswer(const RewardSpec& spec)
      : CompletionReward(spec),
        column_(option<std::string>(spec, "column", "answer")),
        ignore_case_(option<bool>(spec, "ignore_case", false)) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto found = request.row->columns.find(column_);
    if (found == request.row->columns.end()) return unusable(request, "is missing");
    const bool is_text = found->is_string();
    if (!is_text && !found->is_number() && !found->is_boolean()) {
      return unusable(request, std::string("is of type ") + found->type_name());
    }
    const std::string answer = comparable(is_text ? found->get<std::string>() : found->dump());
    if (answer.empty()) return unusable(request, "is empty");
    return RewardOutcome::scored(comparable(request.completion) == answer ? 1.0 : 0.0);
  }

  std::string comparable(std::string_view text) const {
    return ignore_case_ ? lower(trim(text)) : std::string(trim(text));
  }

  RewardOutcome unusable(const RewardRequest& request, const std::string& why) const {
    return RewardOutcome::unscored("column \"" + column_ + "\" " + why + " at " + request.row->where());
  }

  const std::string column_;
  const bool ignore_case_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_exact_answer(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<ExactAnswer>(spec);
}

}  // namespace sluice::rewards::internal
