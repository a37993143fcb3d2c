// What a row says a program must do.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "rewards/reward.h"

namespace sluice::rewards::code {

// A program that reads `input` writes `output`.
struct StreamCase {
  std::string input;
  std::string output;
};

// Cases of one kind.
struct CodeCases {
  std::vector<StreamCase> streams;
  // For the judge: {"code": statements} or {"function", "arguments", "expected"}.
  Json calls = Json::array();
  std::string problem;  // why there are none

  size_t size() const { return streams.size() + calls.size(); }
};

// Of a row's column, which is one of these or JSON text of it: a list of statements that assert (MBPP), or
// one text of them; a list of {"input", "output"}; {"inputs": [...], "outputs": [...]} of texts, or with
// "fn_name" of arguments and what the function returns (APPS).
CodeCases code_cases(const RewardRequest& request, const std::string& column);

// Whether a program wrote what was expected: the same lines, blanks at their ends and empty lines at the end
// left out.
bool same_lines(const std::string& written, const std::string& expected);

}  // namespace sluice::rewards::code
