#include "rewards/code/code_cases.h"

#include <sstream>
#include <string_view>

#include "base/error.h"
#include "rewards/internal/final_answer.h"

namespace sluice::rewards::code {
namespace {

// A text as it is, and of anything else how JSON writes it.
std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

// A text of JSON, as APPS and verl have it, is what it holds.
Json opened(const Json& column) {
  if (!column.is_string()) return column;
  const auto& text = column.get_ref<const std::string&>();
  const auto begin = internal::trim(text).substr(0, 1);
  if (begin != "[" && begin != "{") return column;
  try {
    return parse_json(text, "tests");
  } catch (const DataError&) {
    return column;  // statements that begin with a bracket
  }
}

// The arguments of a call: a list, or a text with one JSON value a line.
Json arguments_of(const Json& input) {
  if (!input.is_string()) return input.is_array() ? input : Json::array({input});
  Json arguments = Json::array();
  std::istringstream lines(input.get<std::string>());
  for (std::string line; std::getline(lines, line);) {
    if (!internal::trim(line).empty()) arguments.push_back(parse_json(line, "an argument in tests"));
  }
  return arguments;
}

void read_pairs(const Json& tests, CodeCases& cases) {
  const Json &inputs = tests.at("inputs"), &outputs = tests.at("outputs");
  require<DataError>(inputs.is_array() && outputs.is_array() && inputs.size() == outputs.size(),
                     "inputs and outputs are not lists of one length");
  const Json function = tests.value("fn_name", Json());
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (!function.is_string()) {
      cases.streams.push_back({text_of(inputs[i]), text_of(outputs[i])});
      continue;
    }
    const Json expected = outputs[i].is_string() ? parse_json(text_of(outputs[i]), "outputs") : outputs[i];
    cases.calls.push_back(
        {{"function", function}, {"arguments", arguments_of(inputs[i])}, {"expected", expected}});
  }
}

void read(const Json& tests, CodeCases& cases) {
  if (tests.is_string()) {
    cases.calls.push_back({{"code", tests}});
  } else if (tests.is_object() && tests.contains("inputs") && tests.contains("outputs")) {
    read_pairs(tests, cases);
  } else {
    require<DataError>(tests.is_array(), "is neither statements, a list of tests nor inputs and outputs");
    for (const auto& test : tests) {
      const bool is_pair = test.is_object() && test.contains("input") && test.contains("output");
      require<DataError>(test.is_string() || is_pair, "has a test that is no text and no {input, output}");
      if (is_pair) {
        cases.streams.push_back({text_of(test.at("input")), text_of(test.at("output"))});
      } else {
        cases.calls.push_back({{"code", test}});
      }
    }
  }
  require<DataError>(cases.size() > 0, "holds no test");
  require<DataError>(cases.streams.empty() || cases.calls.empty(), "mixes two kinds of tests");
}

// Without blanks and line ends at its end.
std::string without_trailing(std::string_view text) {
  const size_t end = text.find_last_not_of(" \t\r\n");
  return std::string(text.substr(0, end == std::string_view::npos ? 0 : end + 1));
}

}  // namespace

CodeCases code_cases(const RewardRequest& request, const std::string& column) {
  CodeCases cases;
  const auto found = request.row->columns.find(column);
  try {
    require<DataError>(found != request.row->columns.end(), "is missing");
    read(opened(*found), cases);
  } catch (const DataError& error) {
    cases = {};
    cases.problem = "column \"" + column + "\" " + error.what() + " at " + request.row->where();
  }
  return cases;
}

bool same_lines(const std::string& written, const std::string& expected) {
  std::istringstream left(without_trailing(written)), right(without_trailing(expected));
  for (std::string a, b;;) {
    const bool more_left = static_cast<bool>(std::getline(left, a));
    const bool more_right = static_cast<bool>(std::getline(right, b));
    if (more_left != more_right) return false;
    if (!more_left) return true;
    if (without_trailing(a) != without_trailing(b)) return false;
  }
}

}  // namespace sluice::rewards::code
