// multiple_choice: 1 when the completion chooses the letter of the row's column.
//
// The choice is what the completion marks as its answer (final_answer.h); where nothing is marked, all of it
// or its last line. The column (default "answer") is a letter in one of the forms below, the number of a
// choice, counted from 0, or the text of one; the row's `choices` (a list of texts, where it has one) say how
// many there are.
//
//   right                                  against   because
//   B, b, (B), [B], B., B)                 B         a letter alone
//   B) Paris, (B) Paris, B: Paris          B         a letter, its mark and what it stands for
//   \boxed{\text{(B)}}, **B**              B         whatever it is set in
//   Option B, choice (B)                   B         named so
//   The answer is (B). ...                 B         marked
//   Paris                                  B         the text of choices[1]
//   B                                      1         choices are counted from 0
//   A or B, (A) or (B), AB, B A             (wrong)   more than one
//   A dog barks                            (wrong)   an article, no choice
//   H                                      (wrong)   there are four
#include <algorithm>
#include <optional>

#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

constexpr int64_t kLetters = 26;

bool take(std::string_view& text, std::string_view start) {
  const bool there = text.size() >= start.size() && lower(text.substr(0, start.size())) == start;
  if (there) text.remove_prefix(start.size());
  return there;
}

// Without what a letter is set in: \text{ }, $ $, ** **, "option".
std::string_view bare(std::string_view text) {
  constexpr std::string_view kCommands[] = {"\\text{", "\\textbf{", "\\mathrm{", "\\mathbf{", "\\mbox{"};
  for (bool changed = true; changed;) {
    const size_t before = text.size();
    text = trim(text);
    for (const auto command : kCommands) {
      if (text.starts_with(command) && text.find('}') == text.size() - 1)
        text = text.substr(command.size(), text.size() - command.size() - 1);
    }
    while (text.size() > 1 && (text.front() == '$' || text.front() == '*')) text.remove_prefix(1);
    while (text.size() > 1 && (text.back() == '$' || text.back() == '*')) text.remove_suffix(1);
    take(text, "option ") || take(text, "choice ");
    changed = text.size() != before;
  }
  return text;
}

// "(A) or (B)": a letter that closes a bracket as the first one did.
bool names_another(std::string_view rest) {
  for (size_t at = 1; at + 1 < rest.size(); ++at) {
    const bool begins = rest[at - 1] == '(' || rest[at - 1] == '[' || rest[at - 1] == ' ';
    if (begins && is_letter(rest[at]) && (rest[at + 1] == ')' || rest[at + 1] == ']')) return true;
  }
  return false;
}

// The number of the choice that is named by its letter.
std::optional<int64_t> named_choice(std::string_view text) {
  text = bare(text);
  const bool round = text.starts_with('('), square = text.starts_with('[');
  if (round || square) text.remove_prefix(1);
  if (text.empty() || !is_letter(text.front())) return std::nullopt;
  const int64_t choice = lower(text.front()) - 'a';
  text.remove_prefix(1);
  const bool closed = text.starts_with(')') || text.starts_with(']');
  if ((round && !text.starts_with(')')) || (square && !text.starts_with(']'))) return std::nullopt;
  const bool ends = text.empty() || closed || text.starts_with(". ") || text.starts_with(": ") ||
                    text == "." || text == ":";
  return ends && !names_another(text) ? std::optional<int64_t>(choice) : std::nullopt;
}

class MultipleChoice final : public CompletionReward {
 public:
  explicit MultipleChoice(const RewardSpec& spec)
      : CompletionReward(spec),
        column_(option<std::string>(spec, "column", "answer")),
        choices_column_(option<std::string>(spec, "choices", "choices")) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto column = column_text(request, column_);
    if (!column.problem.empty()) return RewardOutcome::unscored(column.problem);
    const auto choices = choices_of(request);
    const Json& gold_value = request.row->columns.at(column_);
    const auto gold = gold_value.is_number_integer() ? std::optional<int64_t>(gold_value.get<int64_t>())
                                                     : choice_in(column.text, choices);
    const int64_t count = choices.empty() ? kLetters : std::ssize(choices);
    if (!gold || *gold < 0 || *gold >= count) {
      return RewardOutcome::unscored("column \"" + column_ + "\" is no choice at " + request.row->where());
    }
    const auto chosen = choice_of(request.completion, choices);
    return RewardOutcome::scored(chosen == gold ? 1.0 : 0.0,
                                 {{"chosen", chosen && *chosen < count ? 1.0 : 0.0}});
  }

  std::vector<std::string> choices_of(const RewardRequest& request) const {
    std::vector<std::string> choices;
    const auto found = request.row->columns.find(choices_column_);
    if (found == request.row->columns.end() || !found->is_array()) return choices;
    for (const auto& choice : *found)
      choices.push_back(
          lower(trim(choice.is_string() ? choice.get_ref<const std::string&>() : choice.dump())));
    return choices;
  }

  static std::optional<int64_t> choice_in(std::string_view text, const std::vector<std::string>& choices) {
    const auto same = std::ranges::find(choices, lower(bare(text)));
    if (same != choices.end()) return same - choices.begin();
    return named_choice(text);
  }

  static std::optional<int64_t> choice_of(std::string_view completion,
                                          const std::vector<std::string>& choices) {
    const auto answer = final_answer(completion);
    const auto chosen = choice_in(answer.text, choices);
    if (chosen || answer.marked) return chosen;
    return choice_in(answer.text.substr(answer.text.rfind('\n') + 1), choices);
  }

  const std::string column_, choices_column_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_multiple_choice(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<MultipleChoice>(spec);
}

}  // namespace sluice::rewards::internal
