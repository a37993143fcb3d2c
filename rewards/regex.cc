// regex: 1 when the regular expression `pattern` (PCRE2) is found in the completion.
//
// With full = true it has to be all of the completion, white space around that left aside. With `column` it
// says where the answer stands: its first group, or all of a match without one, is compared with the row's
// column, white space aside. Of several matches the first one counts; begin with (?s).* for the last. What
// takes a million steps, which only an expression like (a+)+b does, is unscored.
//
//   pattern                       full   column   completion            score
//   \d+                                           So it is 42.          1
//   \d+                           true            So it is 42.          0
//   \d+                           true            42\n                  1
//   ^Answer: (.*)$                       "42"     Answer: 42            1
//   (?m)^Answer: (.*)$                   "42"     Hm.\nAnswer: 42       1      (?m): ^ and $ at every line
//   (?s).*Answer: (\d+)                  "42"     Answer: 7 Answer: 42  1      the last one
//   (?i)yes|no                                    NO                    1      in any case
#include "rewards/internal/final_answer.h"
#include "rewards/internal/pattern.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

class Regex final : public CompletionReward {
 public:
  explicit Regex(const RewardSpec& spec)
      : CompletionReward(spec),
        full_(option<bool>(spec, "full", false)),
        column_(option<std::string>(spec, "column", "")),
        pattern_(pattern_option(spec), speaker(spec), full_ ? Pattern::Extent::All : Pattern::Extent::Part) {}

 private:
  static std::string pattern_option(const RewardSpec& spec) {
    auto pattern = option<std::string>(spec, "pattern", "");
    require<UsageError>(!pattern.empty(), speaker(spec), ": give `pattern`, a regular expression");
    return pattern;
  }

  RewardOutcome score_one(const RewardRequest& request) const override {
    std::string wanted;
    if (!column_.empty()) {
      auto column = column_text(request, column_);
      if (!column.problem.empty()) return RewardOutcome::unscored(std::move(column.problem));
      wanted = std::move(column.text);
    }
    const auto match =
        pattern_.search(full_ ? trim(request.completion) : std::string_view(request.completion));
    const bool right = match && (column_.empty() || trim(match->group.value_or(match->all)) == wanted);
    return RewardOutcome::scored(right ? 1.0 : 0.0, {{"found", match ? 1.0 : 0.0}});
  }

  const bool full_;
  const std::string column_;  // empty: none
  const Pattern pattern_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_regex(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<Regex>(spec);
}

}  // namespace sluice::rewards::internal
