#include "rewards/math/answer.h"

#include <algorithm>
#include <cmath>

#include "rewards/math/evaluate.h"
#include "rewards/math/normal_form.h"
#include "rewards/math/parser.h"
#include "rewards/math/tokens.h"

namespace sluice::rewards::math {
namespace {

// Without blanks around it and the mark that ends a sentence.
std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  while (!text.empty() && (kSpace.find(text.front()) != std::string_view::npos)) text.remove_prefix(1);
  while (!text.empty() && (kSpace.find(text.back()) != std::string_view::npos ||
                           std::string_view(".,;:").find(text.back()) != std::string_view::npos)) {
    if (text.ends_with("\\,") || text.ends_with("\\;") || text.ends_with("\\:")) text.remove_suffix(1);
    text.remove_suffix(1);
  }
  return text;
}

// Nothing but words and what stands around them: "\\text{(C)}", C.
bool are_words(const std::vector<Token>& tokens) {
  return std::ranges::all_of(tokens, [](const Token& token) {
    if (token.kind == TokenKind::Sign)
      return std::string_view("(){}.,'-:;").find(token.text) != std::string_view::npos;
    return token.kind != TokenKind::Command;
  });
}

}  // namespace

Verdict compare(std::string_view given_text, std::string_view gold_text, const Tolerance& tolerance) {
  given_text = trimmed(given_text);
  gold_text = trimmed(gold_text);
  Verdict verdict;
  if (given_text.empty()) return verdict;
  const auto given_tokens = tokenize(given_text), gold_tokens = tokenize(gold_text);
  verdict.same = given_text == gold_text && given_text.size() <= kMaxAnswerBytes;
  if (!given_tokens) return verdict;

  const auto gold = gold_tokens ? parse(*gold_tokens, {}) : std::nullopt;
  const bool in_variables = gold && has_variable(*gold);
  const auto given = parse(*given_tokens, {.letters_are_units = gold && !in_variables});
  verdict.readable = given.has_value();
  if (gold_tokens && spelled(*given_tokens) == spelled(*gold_tokens)) verdict.same = true;
  if (gold && gold->kind == Kind::Words) {
    verdict.same = verdict.same || (are_words(*given_tokens) && words_of(*given_tokens) == gold->name);
  } else if (!verdict.same && gold && given) {
    Budget budget;
    verdict.same = is_same(*given, *gold, tolerance, budget);
    verdict.steps = budget.spent();
  }
  return verdict;
}

bool is_number(std::string_view text) {
  const auto tokens = tokenize(trimmed(text));
  const auto tree = tokens ? parse(*tokens, {.letters_are_units = true}) : std::nullopt;
  if (!tree) return false;
  const Expression form = normal_form(*tree);
  const Expression& number = form.kind == Kind::Quantity ? form.parts[0] : form;
  Budget budget;
  const auto value = has_variable(number) ? std::nullopt : value_at(number, 0, budget);
  return value && std::isfinite(value->near.real()) && std::abs(value->near.imag()) <= value->error;
}

}  // namespace sluice::rewards::math
