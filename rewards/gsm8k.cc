// gsm8k: 1 when the completion ends its answer as GSM8K does, with the number of the row's column.
//
// The number stands in the last line that begins with "####" or "A:", alone but for a dollar sign, commas
// before three digits and a point at the end; numbers are compared digit by digit. The column (default
// "answer") is a solution that ends so too, where the mark may stand in a line, or the number alone. A row
// whose column has no number is unscored.
//
//   completion                       against                        score
//   5 + 13 is 18.\n#### 18            "... He makes 18.\n#### 18"    1      GSM8K's own mark
//   5 + 13 is 18.\nA: 18              "... He makes 18.\nA: 18"      1      that of its model solutions
//   #### $1,250.00                    #### 1250                      1      dollars, commas, zeros at the end
//   A: 5\nNo.\nA: 18                  18                             1      the last line counts
//   The answer is 18                  18                             0      not marked
//   #### 18 apples                    18                             0      not a number alone
#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

// What stands behind the last of the marks; nothing where there is none.
std::optional<std::string_view> marked(std::string_view text) {
  return last_line_after(text, {"####", "A:"});
}

// Where a solution has its number.
std::string_view end_of(std::string_view solution) {
  if (const auto line = marked(solution)) return *line;
  for (const std::string_view mark : {"####", " A:"}) {
    if (const size_t at = solution.rfind(mark); at != std::string_view::npos)
      return solution.substr(at + mark.size());
  }
  return solution;
}

// A comma between digits, before three of them.
bool separates_thousands(std::string_view text, size_t at) {
  const auto digit = [&](size_t i) { return i < text.size() && is_digit(text[i]); };
  return at > 0 && digit(at - 1) && digit(at + 1) && digit(at + 2) && digit(at + 3) && !digit(at + 4);
}

// In one spelling: no zeros before it or at the end of its fraction. Empty for what is no number.
std::string number_in(std::string_view text) {
  text = trim(text);
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  if (text.starts_with('$')) text.remove_prefix(1);
  if (text.ends_with('.')) text.remove_suffix(1);
  std::string whole, fraction;
  bool point = false;
  for (size_t at = 0; at < text.size(); ++at) {
    if (is_digit(text[at])) {
      (point ? fraction : whole) += text[at];
    } else if (text[at] == '.' && !point) {
      point = true;
    } else if (point || !separates_thousands(text, at) || text[at] != ',') {
      return "";
    }
  }
  if (whole.empty() && fraction.empty()) return "";
  whole.erase(0, whole.find_first_not_of('0'));
  fraction.erase(fraction.find_last_not_of('0') + 1);
  if (whole.empty()) whole = "0";
  if (!fraction.empty()) whole += "." + fraction;
  return negative && whole != "0" ? "-" + whole : whole;
}

class Gsm8k final : public CompletionReward {
 public:
  explicit Gsm8k(const RewardSpec& spec)
      : CompletionReward(spec), column_(option<std::string>(spec, "column", "answer")) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto column = column_text(request, column_);
    if (!column.problem.empty()) return RewardOutcome::unscored(column.problem);
    const std::string gold = number_in(end_of(column.text));
    if (gold.empty()) {
      return RewardOutcome::unscored("column \"" + column_ + "\" ends in no number at " +
                                     request.row->where());
    }
    const auto answer = marked(request.completion);
    const bool right = answer && number_in(*answer) == gold;
    return RewardOutcome::scored(right ? 1.0 : 0.0, {{"format", answer ? 1.0 : 0.0}});
  }

  const std::string column_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_gsm8k(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<Gsm8k>(spec);
}

}  // namespace sluice::rewards::internal
