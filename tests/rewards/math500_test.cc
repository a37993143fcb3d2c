// Every right answer of MATH-500 against other ways to write it, and against answers that are nearly it.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "rewards/math/answer.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using Texts = std::vector<std::string>;

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_whole(const std::string& text) { return !text.empty() && std::ranges::all_of(text, is_digit); }
bool is_decimal(const std::string& text) {
  return holds(text, ".") && std::ranges::count(text, '.') == 1 &&
         std::ranges::all_of(text, [](char c) { return is_digit(c) || c == '.'; });
}
bool is_words(const std::string& text) { return text.starts_with("\\text{") && text.ends_with('}'); }
// One value: no list, tuple, interval, matrix, equation or words.
bool is_scalar(const std::string& text) {
  for (const char* part : {", ", "=", "(", "[", "\\{", "begin", "\\in", "\\pm", "text", "mbox", "_", "circ",
                           "\\$", ",-", ",1", ",5"}) {
    if (holds(text, part)) return false;
  }
  return true;
}
bool has_letters(const std::string& text) {
  std::string rest = text;
  for (const char* name : {"\\frac", "\\dfrac", "\\sqrt", "\\pi", "\\cot", "\\!"})
    rest = replaced(rest, name, "");
  return std::ranges::any_of(rest, [](char c) { return c >= 'a' && c <= 'z'; });
}

std::string with_commas(const std::string& digits, const std::string& comma) {
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += comma;
    out += digits[i];
  }
  return out;
}

// \frac{a}{b} as (a)/(b), braces inside allowed.
std::string with_slashes(std::string text) {
  text = replaced(text, "\\dfrac", "\\frac");
  for (size_t at = text.find("\\frac{"); at != std::string::npos; at = text.find("\\frac{", at + 1)) {
    const auto close = [&](size_t open) {
      int depth = 0;
      for (size_t i = open; i < text.size(); ++i) {
        if (text[i] == '{') ++depth;
        if (text[i] == '}' && --depth == 0) return i;
      }
      return std::string::npos;
    };
    const size_t top_end = close(at + 5);
    if (top_end == std::string::npos || top_end + 1 >= text.size() || text[top_end + 1] != '{') continue;
    const size_t end = close(top_end + 1);
    const std::string top = text.substr(at + 6, top_end - at - 6),
                      bottom = text.substr(top_end + 2, end - top_end - 2);
    text.replace(at, end + 1 - at, "((" + top + ")/(" + bottom + "))");
  }
  return text;
}

// The parts of "1, -2" and (1,2), which have no brackets of their own.
Texts split(const std::string& text) {
  Texts parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

std::string joined(const Texts& parts, const std::string& between = ", ") {
  std::string out;
  for (const auto& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

bool is_list(const std::string& text) {
  return holds(text, ",") && !holds(text, "(") && !holds(text, "\\{") && !holds(text, "!") &&
         !holds(text, "[") && text != "58,500";
}

// Without what is the same as `from` or was there before.
Texts different(const Texts& texts, const std::string& from) {
  std::set<std::string> seen{from};
  Texts out;
  for (const auto& text : texts) {
    if (seen.insert(text).second) out.push_back(text);
  }
  return out;
}

Texts rewritings(const std::string& gold) {
  Texts out = {"$" + gold + "$",
               "\\(" + gold + "\\)",
               "$$" + gold + "$$",
               "\\boxed{" + gold + "}",
               "$\\boxed{" + gold + "}$.",
               " " + gold + "\n",
               "\\displaystyle " + gold,
               "\\!" + gold + "\\,",
               gold + ".",
               "The answer is $" + gold + "$.",
               "<think>No.</think>\n<answer>" + gold + "</answer>",
               "It follows.\n#### " + gold};
  out.push_back(replaced(gold, "\\frac", "\\dfrac"));
  out.push_back(replaced(gold, "\\frac", "\\tfrac"));
  out.push_back(replaced(gold, "\\dfrac", "\\frac"));
  const bool mixed = gold.find("\\frac") != std::string::npos && gold.find("\\frac") > 0 &&
                     !holds(gold, "{\\frac") &&
                     is_digit(replaced(gold, " ", "")[replaced(gold, " ", "").find("\\frac") - 1]);
  if (!mixed) out.push_back(with_slashes(gold));
  out.push_back(replaced(gold, "-", "\u2212"));
  out.push_back(replaced(gold, "\\pi", "\u03c0"));
  out.push_back(replaced(gold, "\\infty", "\u221e"));
  out.push_back(replaced(gold, "\\cup", "\u222a"));
  out.push_back(replaced(gold, "^\\circ", "\u00b0"));
  out.push_back(replaced(gold, "^\\circ", " degrees"));
  out.push_back(replaced(gold, "^\\circ", ""));
  out.push_back(replaced(gold, "\\sqrt", "\u221a"));
  out.push_back(replaced(gold, "\\pm", "\u00b1"));
  out.push_back(replaced(gold, "\\text{", "\\mbox{"));
  out.push_back(replaced(gold, "\\text{", "\\textbf{"));
  out.push_back(replaced(gold, "\\$", "$"));
  out.push_back(replaced(gold, "pmatrix", "bmatrix"));
  if (!holds(gold, "text") && !holds(gold, "mbox")) out.push_back(replaced(gold, ",\\! ", ",\\!"));
  if (!holds(gold, "text") && !holds(gold, "mbox") && !holds(gold, "\\!"))
    out.push_back(replaced(gold, " ", "\\;"));
  if (!holds(gold, "\\left") && !holds(gold, "text")) {
    out.push_back(replaced(replaced(gold, "(", "\\left("), ")", "\\right)"));
  } else {
    out.push_back(replaced(replaced(gold, "\\left", ""), "\\right", ""));
  }
  if (!holds(gold, "!") && !holds(gold, "text") && !holds(gold, "58,500"))
    out.push_back(replaced(gold, ",", " , "));
  for (const char* sign : {"+", "=", "-"}) {
    if (!holds(gold, "text")) out.push_back(replaced(gold, sign, " " + std::string(sign) + " "));
  }
  if (is_words(gold)) {
    const std::string words = gold.substr(6, gold.size() - 7);
    out.insert(out.end(), {words, "\\mathrm{" + words + "}", replaced(replaced(words, "(", ""), ")", "")});
  }
  if (is_scalar(gold)) {
    out.insert(out.end(), {"{" + gold + "}", "(" + gold + ")", gold + " + 0", "1 \\cdot (" + gold + ")",
                           "-(-(" + gold + "))", "\\frac{2(" + gold + ")}{2}"});
    if (!has_letters(gold)) out.push_back("x = " + gold);
  }
  if (is_whole(gold)) {
    out.insert(out.end(), {gold + ".0", gold + ".", gold + "/1", "2 \\times \\frac{" + gold + "}{2}",
                           gold + " \\text{ units}"});
    out.push_back(with_commas(gold, ","));
    out.push_back(with_commas(gold, "{,}"));
    out.push_back(with_commas(gold, ",\\!"));
  }
  if (holds(gold, ",\\!")) out.push_back(replaced(replaced(gold, ",\\! ", ""), ",\\!", ""));
  if (is_decimal(gold)) {
    const size_t places = gold.size() - gold.find('.') - 1;
    out.push_back("\\frac{" + replaced(gold, ".", "") + "}{1" + std::string(places, '0') + "}");
    out.push_back(gold + "00");
    out.push_back(gold.starts_with(".") ? "0" + gold : gold);
    if (gold.starts_with("0.")) out.push_back(gold.substr(1));
  }
  if (is_list(gold)) {
    Texts parts = split(gold);
    std::ranges::reverse(parts);
    out.push_back(joined(parts));
    out.push_back("\\{" + joined(parts) + "\\}");
    out.push_back(joined(parts, " \\text{ and } "));
    out.push_back(joined(parts, " or "));
  }
  if (gold.starts_with("\\{")) out.push_back("\\left" + gold.substr(0, gold.size() - 2) + "\\right\\}");
  return different(out, gold);
}

// Answers that nobody would call right, if few digits or signs are looked at.
Texts near_misses(const std::string& gold) {
  Texts out;
  for (size_t i = 0; i < gold.size(); ++i) {
    if (!is_digit(gold[i])) continue;
    std::string other = gold;
    other[i] = static_cast<char>('0' + (gold[i] - '0' + 1) % 10);
    out.push_back(other);
    if (i + 1 < gold.size() && is_digit(gold[i + 1]) && gold[i] != gold[i + 1]) {
      other = gold;
      std::swap(other[i], other[i + 1]);
      out.push_back(other);
    }
  }
  const bool one_or_none = gold == "0" || gold == "1" || gold == "-1";
  if (!is_words(gold)) {
    if (gold != "0") out.insert(out.end(), {"-" + gold, "-(" + gold + ")", "2(" + gold + ")"});
    if (!one_or_none && !holds(gold, "\\pm"))
      out.insert(out.end(), {"\\frac{1}{" + gold + "}", "(" + gold + ")^2", "\\sqrt{" + gold + "}"});
    out.insert(out.end(),
               {gold + "+1", gold + " + 10^{-9}", gold + "\\pi + 1", gold + " + i", "x + " + gold});
  }
  out.insert(out.end(), {gold + ", 17", "(" + gold + ", " + gold + ")", "\\{" + gold + ", 17\\}",
                         "[" + gold + ", " + gold + "]", "\\pm (" + gold + ") + 1", gold + " \\text{ or } 17",
                         "\\text{not } " + gold, "\\frac{" + gold, gold + " = 17", "\\text{none}"});
  if (!holds(gold, "\\infty")) {
    for (const auto& [from, to] : {std::pair{"(", "["}, {")", "]"}, {"[", "("}, {"]", ")"}}) {
      if (holds(gold, "text")) continue;
      const size_t at = gold.find(from);
      if (at != std::string::npos && holds(gold, ",")) out.push_back(std::string(gold).replace(at, 1, to));
    }
  }
  if (is_list(gold)) {
    Texts parts = split(gold);
    out.push_back(joined({parts.begin(), parts.end() - 1}));
    parts.push_back(parts.front());
    out.push_back(joined(parts));
    out.push_back("(" + gold + ")");
  } else if (gold.starts_with("(") && std::ranges::count(gold, '(') == 1 && holds(gold, ",")) {
    Texts parts = split(gold.substr(1, gold.size() - 2));
    std::ranges::reverse(parts);
    out.push_back("(" + joined(parts) + gold.back());
    out.push_back("(" + joined({parts.begin(), parts.end() - 1}) + gold.back());
  }
  if (holds(gold, "\\\\")) {
    out.push_back(replaced(gold, "\\\\", "&"));
    out.push_back(std::string(gold).replace(gold.find("\\\\"), 2, ""));
  }
  for (const auto& [from, to] : {std::pair{"\\cup", "\\cap"},
                                 {"\\pi", "\\pi^2"},
                                 {"\\sqrt", ""},
                                 {"i", ""},
                                 {"\\pm", "+"},
                                 {"x", "y"},
                                 {"_", ""},
                                 {"\\circ", "2"},
                                 {"cents", "dollars"},
                                 {"cm", "mm"},
                                 {"inches", "feet"}}) {
    if (holds(gold, from) && !is_words(gold) &&
        !(std::string(from) == "i" && (holds(gold, "\\pi") || holds(gold, "\\in") || holds(gold, "begin") ||
                                       holds(gold, "circ") || holds(gold, "inches")))) {
      out.push_back(replaced(gold, from, to));
    }
  }
  if (is_words(gold)) {
    const std::string words = gold.substr(6, gold.size() - 7);
    for (const char* more : {"s", " or west", "x", " not"}) out.push_back("\\text{" + words + more + "}");
    out.push_back("\\text{un" + words + "}");
    out.push_back(words.substr(0, 1));
    out.push_back("\\text{(D)}");
  }
  return different(out, gold);
}

class Math500 : public testing::Test {
 protected:
  double score_of(const std::string& completion, const std::string& gold) {
    Case from;
    from.row.columns = {{"answer", gold}};
    return *score(*reward_, from, completion).score;
  }

  Texts golds() const {
    Texts answers;
    for (const auto& row : rows_) answers.push_back(row.columns.at("answer").get<std::string>());
    return answers;
  }

  // Ten texts and more for each answer, every one of which earns `score`.
  void expect_all(Texts (*texts_for)(const std::string& gold), double score) {
    size_t tried = 0;
    for (const auto& gold : golds()) {
      const auto texts = texts_for(gold);
      EXPECT_GE(texts.size(), 10u) << gold;
      tried += texts.size();
      for (const auto& text : texts) EXPECT_EQ(score_of(text, gold), score) << text << " for " << gold;
    }
    EXPECT_GT(tried, 10'000u);
  }

  const std::unique_ptr<RewardFunction> reward_ = make_reward(spec("math_answer"), {});
  const std::vector<text::Row> rows_ = text::read_prompts(
      {.path = SLUICE_SOURCE_DIR "/data/math/math500_answers.jsonl", .prompt_column = "unique_id"},
      text::Split::Train);
};

TEST_F(Math500, EveryAnswerIsItselfInTenRewritingsAndMore) {
  ASSERT_EQ(rows_.size(), 500u);
  for (const auto& gold : golds()) EXPECT_EQ(score_of(gold, gold), 1.0) << gold;
  expect_all(rewritings, 1.0);
}

TEST_F(Math500, NoAnswerIsOneOfTenNearMissesAndMore) { expect_all(near_misses, 0.0); }

// None is another's, but for what says the same: 36 and $36, 1,-2 and -2,1, 5 and x=5.
TEST_F(Math500, TellsTheAnswersApart) {
  Texts equal;
  const Texts answers = different(golds(), "");
  for (const auto& gold : answers) {
    for (const auto& other : answers) {
      if (gold < other && math::compare(other, gold).same) equal.push_back(gold + " | " + other);
    }
  }
  EXPECT_EQ(equal, (Texts{"5 | x=5", "36 | 36^\\circ", "36 | \\$36", "120 | 120^\\circ", "30 | 30^\\circ",
                          "10,\\!080 | 10080", "90 | 90^\\circ", "15 | 15\\mbox{ cm}^2",
                          "\\frac14 | \\frac{1}{4}", "2 \\sqrt{5} | 2\\sqrt{5}", "-2,1 | 1,-2"}));
}

}  // namespace
}  // namespace sluice::rewards
