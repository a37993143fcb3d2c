#include "rewards/reward_guide.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace sluice::rewards {
namespace {

using Guide = RewardGuide;
using Option = RewardGuide::Option;
using Case = RewardGuide::Case;

Option right_column(const std::string& what) { return {"column", "\"answer\"", what}; }
Json answer(const Json& value) { return {{"answer", value}}; }

Guide exact_answer() {
  return {.name = "exact_answer",
          .recipe = R"({ use = "exact_answer" })",
          .options = {right_column("the row's column with the right answer: text, a number, true or false"),
                      {"ignore_case", "false", "the letters a to z count in either case"}},
          .cases = {{"24", 1, "", answer("24")},
                    {" 24\n", 1, "white space around it does not matter", answer("24")},
                    {"24", 1, "a number is compared by its JSON text", answer(24)},
                    {"24.0", 0, "", answer(24)},
                    {"It is 24", 0, "all of it has to be the answer", answer("24")},
                    {"YES", 1, "", answer("yes"), {{"ignore_case", true}}},
                    {"24", std::nullopt, "the row says nothing about it", answer(nullptr)}}};
}

Guide numeric_answer() {
  return {
      .name = "numeric_answer",
      .recipe = R"({ use = "numeric_answer", tolerance = 1e-4 })",
      .options = {right_column("the row's column with the right number"),
                  {"tolerance", "1e-6", "how far off it may be, as a share of the right number"},
                  {"absolute", "0.0", "how far off it may be, as a number; the wider of the two counts"}},
      .cases = {{"The answer is 3.1416.", 1, "within 1e-4 of it", answer("3.14159"), {{"tolerance", 1e-4}}},
                {"The answer is 3.1416.", 0, "and not within 1e-6", answer("3.14159")},
                {"#### 1,234.50", 1, "separators of thousands", answer("1234.5")},
                {"\\boxed{\\frac{1}{3}}", 1, "a fraction is a number", answer("0.33333333")},
                {"She pays $5 and he pays $18.", 1, "nothing is marked: the last number", answer("18")},
                {"<answer>18 apples</answer>", 1, "a unit is left out", answer("18")},
                {"Answer: 2.5 million", 1, "a word that multiplies", answer(2500000)},
                {"<answer>17 or 18</answer>", 0, "what is marked is to be one number", answer("18")},
                {"18", std::nullopt, "the row has no number", answer("many")}}};
}

Guide math_answer() {
  return {.name = "math_answer",
          .recipe = R"({ use = "math_answer" })",
          .options = {right_column(
              "the row's column with the right answer, or a solution that ends in \\boxed{...}")},
          .cases = {{"So it is \\boxed{\\dfrac12}.", 1, "what is marked counts", answer("\\frac{1}{2}")},
                    {"0.5", 1, "fractions are exact", answer("\\frac12")},
                    {"9/5", 1, "a mixed number is a sum", answer("1\\frac{4}{5}")},
                    {"1{,}000", 1, "separators of thousands", answer("1,000")},
                    {"0.\\overline{3}", 1, "repeating digits", answer("\\frac{1}{3}")},
                    {"0.3333", 0, "that is another number", answer("\\frac{1}{3}")},
                    {"0.15", 1, "percent, with its sign or without", answer("15\\%")},
                    {"0.054 dollars", 1, "a unit may be left out or converted", answer("5.4 \\text{ cents}")},
                    {"90 degrees", 1, "", answer("90^\\circ")},
                    {"\\pi/2", 0, "an angle is not converted", answer("90^\\circ")},
                    {"-2, 1", 1, "a list or a set has no order", answer("1, -2")},
                    {"(4, 2)", 0, "a tuple has one", answer("(2,4)")},
                    {"x \\le 3", 1, "intervals and inequalities", answer("(-\\infty, 3]")},
                    {"x<2 or x>3", 1, "unions", answer("(-\\infty,2)\\cup(3,\\infty)")},
                    {"1+\\sqrt{19}, 1-\\sqrt{19}", 1, "both signs", answer("1 \\pm \\sqrt{19}")},
                    {"\\begin{bmatrix} 1 \\\\ 2 \\end{bmatrix}", 1, "elements in their places",
                     answer("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}")},
                    {"5", 1, "a name may be left out", answer("x=5")},
                    {"y = 5", 0, "another name may not", answer("x=5")},
                    {"-2x + y - 3 = 0", 1, "equations with the same solutions", answer("y = 2x + 3")},
                    {"ab+2a+5b+10", 1, "simple algebra; x > 0 is assumed", answer("(a+5)(b+2)")},
                    {"\\frac{\\sqrt{2}}{2}", 1, "roots to the last bits", answer("\\frac{1}{\\sqrt{2}}")},
                    {"52", 0, "digits and base", answer("52_{8}")},
                    {"\\textbf{(C)}", 1, "words, in any case", answer("\\text{(C)}")},
                    {"5", std::nullopt, "the row has no answer", answer("")}}};
}

Guide gsm8k() {
  return {.name = "gsm8k",
          .recipe = R"({ use = "gsm8k" })",
          .options = {right_column(
              "the row's column: a number, or a solution that ends in a line \"#### n\" or \"A: n\"")},
          .cases = {{"5 + 13 is 18.\n#### 18", 1, "GSM8K's own mark", answer("He makes 18.\n#### 18")},
                    {"5 + 13 is 18.\nA: 18", 1, "that of its model solutions", answer("He makes 18.\nA: 18")},
                    {"#### $1,250.00", 1, "dollars, commas, zeros at the end", answer("#### 1250")},
                    {"A: 5\nNo.\nA: 18", 1, "the last line counts", answer(18)},
                    {"#### 18", 1, "the row's #### may stand in a line", answer("He makes 18. #### 18")},
                    {"The answer is 18", 0, "not marked", answer(18)},
                    {"#### 18 apples", 0, "not a number alone", answer(18)},
                    {"#### 18", std::nullopt, "the row ends in no number", answer("#### many")}}};
}

Guide countdown() {
  const Json task = {{"numbers", {3, 3, 8, 8}}, {"target", 24}};
  return {.name = "countdown",
          .recipe = R"({ use = "countdown", format_score = 0.1 })",
          .options = {{"format_score", "0.0", "for an expression that is not right; below 1"}},
          .cases = {{"<answer>8/(3-8/3)</answer>", 1, "fractions, never floating point", task},
                    {"<answer>8*3</answer>", 0, "each number is used exactly once", task},
                    {"<answer>8*3</answer>", 0.1, "", task, {{"format_score", 0.1}}},
                    {"<answer>24</answer>", 0, "", task},
                    {"8/(3-8/3)", 0, "not marked", task},
                    {"<answer>8/(3-8/3)</answer>", std::nullopt, "the row has no task", answer("24")}}};
}

Guide multiple_choice() {
  const Json capital = {{"answer", "B"}, {"choices", {"Rome", "Paris", "Bonn", "Oslo"}}};
  const Json counted = {{"answer", 1}, {"choices", {"Rome", "Paris", "Bonn", "Oslo"}}};
  return {
      .name = "multiple_choice",
      .recipe = R"({ use = "multiple_choice" })",
      .options = {right_column("the row's column: a letter, the number of a choice from 0, or its text"),
                  {"choices", "\"choices\"", "the row's column with the list of choices; may be missing"}},
      .cases = {{"(B)", 1, "a letter alone", answer("B")},
                {"b) Paris", 1, "a letter, its mark and what it stands for", answer("B")},
                {"\\boxed{\\text{(B)}}", 1, "whatever it is set in", answer("B")},
                {"Hm. The answer is (B).", 1, "marked", answer("B")},
                {"Paris", 1, "the text of choices[1]", capital},
                {"B", 1, "choices are counted from 0", counted},
                {"(A) or (B)", 0, "more than one", answer("B")},
                {"A dog barks", 0, "an article, no choice", answer("A")},
                {"H", 0, "there are four", capital},
                {"B", std::nullopt, "the row has no choice", answer("Berlin")}}};
}

Guide regex() {
  const Json marked = {{"pattern", "(?m)^Answer: (.*)$"}, {"column", "answer"}};
  return {.name = "regex",
          .recipe = R"({ use = "regex", pattern = '(?m)^Answer: (.*)$', column = "answer" })",
          .options = {{"pattern", "", "a PCRE2 expression; has to be given"},
                      {"full", "false", "it has to be all of the completion, white space around that aside"},
                      {"column", "",
                       "the row's column that the first group, or all of a match, is compared with"}},
          .cases = {{"So it is 42.", 1, "found", Json::object(), {{"pattern", "\\d+"}}},
                    {"So it is 42.", 0, "", Json::object(), {{"pattern", "\\d+"}, {"full", true}}},
                    {"42\n", 1, "", Json::object(), {{"pattern", "\\d+"}, {"full", true}}},
                    {"Hm.\nAnswer: 42", 1, "(?m): ^ and $ at every line", answer("42"), marked},
                    {"Answer: 7\nAnswer: 42", 0, "the first match counts", answer("42"), marked},
                    {"Answer: 7 Answer: 42",
                     1,
                     "(?s).* goes to the last",
                     answer("42"),
                     {{"pattern", "(?s).*Answer: (\\d+)"}, {"column", "answer"}}},
                    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac b",
                     std::nullopt,
                     "a million steps and no end",
                     Json::object(),
                     {{"pattern", "(a+)+b"}}}}};
}

Guide json_schema() {
  const Json age = {{"schema", R"({"properties": {"age": {"type": "integer"}}})"}};
  Json softer = age;
  softer["format_score"] = 0.1;
  return {
      .name = "json_schema",
      .recipe = R"({ use = "json_schema", path = "answer.schema.json" })",
      .options = {{"schema", "", "the schema as text; this or `path` has to be given"},
                  {"path", "", "the schema's file"},
                  {"format_score", "0.0", "for JSON that does not keep to it; below 1"}},
      .cases = {
          {R"({"age": 7})", 1, "", Json::object(), age},
          {"Here:\n```json\n{\"age\": 7}\n```", 1, "in a fence", Json::object(), age},
          {R"(<answer>{"age": 7, "x": null}</answer>)", 1, "other members are allowed", Json::object(), age},
          {R"({"age": "7"})", 0, "", Json::object(), age},
          {R"({"age": "7"})", 0.1, "", Json::object(), softer},
          {R"({"age": 7, })", 0, "not JSON", Json::object(), softer},
          {R"({"age": 7, "age": 8})", 0, "a member twice is no JSON here", Json::object(), softer}}};
}

Guide code_tests() {
  const Json calls = {{"tests", {"assert add(1, 2) == 3", "assert add(0, 0) == 0"}}};
  const Json streams = {{"tests", {{{"input", "2 3\n"}, {"output", "5\n"}}}}};
  const Json share = {{"partial", true}};
  return {
      .name = "code_tests",
      .recipe = R"({ use = "code_tests", column = "test_list", setup = "test_setup_code" })",
      .options = {{"column", "\"tests\"", "the row's tests: statements that assert, or {input, output}"},
                  {"setup", "", "the row's column of statements that tests need"},
                  {"partial", "false", "the share of tests passed, in place of 0"},
                  {"timeout_s", "10", "for all tests of a completion"},
                  {"memory_mb", "1024", "of each process"},
                  {"sandbox", "\"namespaces\"", "the level (docs/sandbox.md); less is refused, not taken"},
                  {"python", "\"/usr/bin/python3\"", "the interpreter"},
                  {"readable", "[]", "what that needs besides /usr"}},
      .cases = {{"```python\ndef add(a, b):\n    return a + b\n```", 1, "", calls},
                {"def add(a, b): return a", 0, "the first test fails", calls},
                {"def add(a, b): return 0", 0.5, "", calls, share},
                {"import os; os._exit(0)", 0, "an exit is no pass", calls},
                {"print(sum(map(int, input().split())))", 1, "", streams},
                {"print('all tests passed')", 0, "", streams}}};
}

Guide keyword() {
  const Json words = {{"words", {"cat", "New York", "C++"}}};
  return {.name = "keyword",
          .recipe = R"({ use = "keyword", words = ["cat", "New York"] })",
          .options = {{"words", "", "words or phrases; has to be given"},
                      {"ignore_case", "true", "the letters a to z count in either case"}},
          .cases = {{"The cat went to new york.", 2.0 / 3, "", Json::object(), words},
                    {"Concatenate in New Yorkshire", 0, "a part of a word is none", Json::object(), words},
                    {"C++ for cats, cat!", 2.0 / 3, "", Json::object(), words}}};
}

Guide blocklist() {
  const Json words = {{"words", {"damn", "as an AI"}}};
  return {.name = "blocklist",
          .recipe = R"({ use = "blocklist", words = ["as an AI"], weight = 0.5 })",
          .options = {{"words", "", "words or phrases; has to be given"},
                      {"ignore_case", "true", "the letters a to z count in either case"}},
          .cases = {{"What a day.", 1, "", Json::object(), words},
                    {"Damn, what a day.", 0, "", Json::object(), words},
                    {"Goddamned", 1, "a part of a word is none", Json::object(), words},
                    {"D4mn.", 1, "it goes by spelling", Json::object(), words}}};
}

Guide rouge_l() {
  const Json row = {{"reference", "the cat sat on the mat"}};
  return {.name = "rouge_l",
          .recipe = R"({ use = "rouge_l" })",
          .options = {{"column", "\"reference\"",
                       "the row's column: one text, or a list of which the best counts"}},
          .cases = {{"the cat was on the mat", 5.0 / 6, "5 of 6 and 5 of 6", row},
                    {"mat the on sat cat the", 0.5, "order counts", row},
                    {"the cat", 0.5, "2 of 2 and 2 of 6", row},
                    {"", 0, "", row},
                    {"a dog", 1, "the best of a list", {{"reference", {"the cat", "A dog."}}}}}};
}

Guide bleu() {
  const Json row = {{"reference", "the cat sat on the mat"}};
  return {.name = "bleu",
          .recipe = R"({ use = "bleu", weight = 0.5 })",
          .options = {{"column", "\"reference\"", "the row's column: one text, or a list of references"}},
          .cases = {{"the cat sat on the mat", 1, "", row},
                    {"the cat", 0.135335, "exp(1 - 6/2): short ones pay", row},
                    {"the the the the", 0.115216, "a word counts as often as it is there", row},
                    {"a dog", 0, "", row}}};
}

Guide real_words() {
  return {.name = "real_words",
          .recipe = R"({ use = "real_words" })",
          .options = {{"min_count", "2", "how often the training text has a word of the vocabulary"},
                      {"min_words", "4", "fewer words than this scale the score down"}},
          .cases = {{"the cat sat on", 1},
                    {"the cat", 0.5, "two words of four"},
                    {"the the the the", 0.25, "one word of four is different"},
                    {"the cat xqj on", 8.0 / 11, "8 letters of 11"},
                    {"42", 0, "no letters"}},
          .training_text = "the cat sat on the mat; the cat sat on a mat"};
}

Guide format_tags() {
  return {
      .name = "format_tags",
      .recipe = R"({ use = "format_tags", weight = 0.2 })",
      .options = {{"tags", "[\"think\", \"answer\"]", "names of letters, digits, _ and -"}},
      .cases = {{"<think>a</think><answer>b</answer>", 1},
                {"Well: <think>a</think>\nso <answer>b</answer>.", 1, "what is around them does not matter"},
                {"<think>a</think> b", 0.5},
                {"<answer>b</answer><think>a</think>", 0.5, "order counts"},
                {"<think>a<think>b</think>", 0, "twice is not once"}}};
}

Guide tag_count() {
  return {.name = "tag_count",
          .recipe = R"({ use = "tag_count", weight = 0.2 })",
          .options = {{"tags", "[\"think\", \"answer\"]", "names of letters, digits, _ and -"}},
          .cases = {{"<think>a</think><answer>b</answer>", 1},
                    {"<think>a</think> b", 0.5},
                    {"</answer><answer></think><think>", 1, "order is not looked at"},
                    {"<think><think>a</think><answer>b", 0.5, "twice is not once"}}};
}

Guide language() {
  const Json english = {{"language", "en"}};
  return {.name = "language",
          .recipe = R"({ use = "language", language = "en", weight = 0.1 })",
          .options = {{"language", "",
                       "en de fr es it pt nl pl el ru uk he ar fa hi th ko ja zh; has to be given"}},
          .cases = {{"So the answer is that it was 5.", 1, "", Json::object(), english},
                    {"So 答案 is 5, and that is it.", 15.0 / 17, "15 letters of 17", Json::object(), english},
                    {"Die Antwort ist nicht das, und es war so.", 0.125, "one small word of eight is English",
                     Json::object(), english},
                    {"答案是 $x$", 1, "mathematics is in no language", Json::object(), {{"language", "zh"}}},
                    {"42", 0, "no letters", Json::object(), english}}};
}

Guide repetition() {
  return {.name = "repetition",
          .recipe = R"({ use = "repetition", weight = 0.1 })",
          .options = {{"n", "3", "length of a run, 1 to 64"},
                      {"of", "\"words\"", "\"words\", or \"tokens\" as they were sampled"}},
          .cases = {{"a b c d e f", 1, "four runs of three, all different"},
                    {"a b c a b c", 0.75, "a b c, b c a, c a b, a b c"},
                    {"no no no no no no", 0.25},
                    {"yes", 1, "too short to repeat anything"}}};
}

Guide length() {
  return {.name = "length",
          .recipe = R"({ use = "length", target = 200, weight = 0.1 })",
          .options = {{"target", "", "tokens: 1 there, falling to 0 at none and at twice as many"},
                      {"max", "", "tokens: 1 up to there, falling to 0 at twice as many; this or `target`"}},
          .cases = {{"...", 0.75, "", Json::object(), {{"target", 20}}, 15},
                    {"...", 1, "", Json::object(), {{"target", 20}}, 20},
                    {"...", 0, "", Json::object(), {{"target", 20}}, 41},
                    {"...", 1, "", Json::object(), {{"max", 10}}, 3},
                    {"...", 0.5, "", Json::object(), {{"max", 10}}, 15}}};
}

Guide soft_overlong() {
  return {.name = "soft_overlong",
          .recipe = R"({ use = "soft_overlong", max = 512, buffer = 100 })",
          .options = {{"max", "", "tokens of the limit; has to be given"},
                      {"buffer", "max / 5", "tokens before the limit over which it falls"},
                      {"factor", "1.0", "what is lost at the limit"}},
          .cases = {{"...", 0, "", Json::object(), {{"max", 100}}, 80},
                    {"...", -0.5, "", Json::object(), {{"max", 100}}, 90},
                    {"...", -1, "", Json::object(), {{"max", 100}}, 100},
                    {"...", -1, "", Json::object(), {{"max", 100}}, 300}}};
}

Guide reward_model() {
  return {.name = "reward_model",
          .recipe = R"({ use = "reward_model", path = "models/judge", clip = 3 })",
          .options = {{"path", "", "a directory of sequence classification with one label"},
                      {"stage", "", "or an earlier stage of the recipe that trains one"},
                      {"clip", "", "scores are kept between -clip and clip"},
                      {"device", "", "cpu, cuda or cuda:1; the recipe's where it is not given"},
                      {"process", "false", "the model is in a process of its own, not in each actor's"},
                      {"timeout_ms", "30000", "of that process, for a group"},
                      {"start_timeout_ms", "60000", "and to load the model"},
                      {"retries", "1", "of a group, each with a new process"},
                      {"memory_mb", "0", "of private memory that it may take; 0: any"}},
          .cases = {}};
}

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.6g", value);
  return text.data();
}

// On one line.
std::string shown(const std::string& text) {
  std::string out;
  for (const char c : text) out += c == '\n' ? std::string("\\n") : std::string(1, c);
  return out;
}

std::string shown(const Json& object) {
  std::string out;
  for (const auto& [key, value] : object.items()) {
    out += (out.empty() ? "" : ", ") + key + " = ";
    out += value.is_string() ? "'" + shown(value.get_ref<const std::string&>()) + "'" : value.dump();
  }
  return out;
}

int64_t num_characters(const std::string& text) {
  return std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

using Cells = std::vector<std::string>;

// Columns side by side, indented as Markdown wants code; one that is empty throughout is left out.
std::string table(const std::vector<Cells>& rows) {
  std::string out = "\n";
  std::vector<int64_t> widths(rows.front().size());
  for (size_t column = 0; column < widths.size(); ++column) {
    bool filled = false;
    for (size_t i = 0; i < rows.size(); ++i) {
      widths[column] = std::max(widths[column], num_characters(rows[i][column]));
      filled = filled || (i > 0 && !rows[i][column].empty());
    }
    if (!filled) widths[column] = 0;
  }
  for (const auto& row : rows) {
    std::string line = "   ";
    for (size_t column = 0; column < row.size(); ++column) {
      if (widths[column] == 0) continue;
      const auto blanks = static_cast<size_t>(widths[column] - num_characters(row[column]));
      line += " " + row[column] + std::string(blanks, ' ') + " ";
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + '\n';
  }
  return out;
}

}  // namespace

const std::vector<RewardGuide>& reward_guides() {
  static const std::vector<RewardGuide> guides = {
      exact_answer(), numeric_answer(), math_answer(), gsm8k(),     countdown(), multiple_choice(),
      regex(),        json_schema(),    code_tests(),  keyword(),   blocklist(), rouge_l(),
      bleu(),         real_words(),     format_tags(), tag_count(), language(),  repetition(),
      length(),       soft_overlong(),  reward_model()};
  return guides;
}

std::string to_markdown(const RewardGuide& guide, const std::string& summary) {
  std::string out = "### " + guide.name + "\n\n" + summary + "\n\n    rewards = [" + guide.recipe + "]\n";
  std::vector<Cells> options = {{"option", "default", "meaning"}};
  for (const auto& option : guide.options) options.push_back({option.key, option.fallback, option.meaning});
  out += table(options);
  if (guide.cases.empty()) return out;
  if (!guide.training_text.empty()) out += "\nWith the training text \"" + guide.training_text + "\":\n";
  std::vector<Cells> cases = {{"completion", "tokens", "row", "options", "score", "because"}};
  for (const auto& one : guide.cases) {
    cases.push_back({shown(one.completion), one.tokens > 0 ? std::to_string(one.tokens) : "",
                     shown(one.columns), shown(one.options), one.score ? number(*one.score) : "unscored",
                     one.because});
  }
  return out + table(cases);
}

}  // namespace sluice::rewards
