#include "rewards/code/code_cases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/rewards/reward_cases.h"

namespace sluice::rewards::code {
namespace {

using testing::HasSubstr;

CodeCases cases_of(const std::string& column) {
  Case row;
  row.row.file = "rows.jsonl";
  row.row.line = 3;
  if (!column.empty()) row.row.columns["tests"] = Json::parse(column);
  return code_cases(row.request(""), "tests");
}

TEST(CodeCases, AreStatements) {
  EXPECT_EQ(cases_of(R"(["assert f(1) == 2", "assert f(2) == 3"])").calls,
            Json::parse(R"([{"code": "assert f(1) == 2"}, {"code": "assert f(2) == 3"}])"));
  EXPECT_EQ(cases_of(R"("assert f(1) == 2")").calls, Json::parse(R"([{"code": "assert f(1) == 2"}])"));
  EXPECT_EQ(cases_of(R"("[x] = [1]\nassert f(x) == 2")").calls,
            Json::parse(R"([{"code": "[x] = [1]\nassert f(x) == 2"}])"));
}

TEST(CodeCases, AreInputsAndOutputs) {
  for (const char* column :
       {R"([{"input": "1\n", "output": "2\n"}])", R"({"inputs": ["1\n"], "outputs": ["2\n"]})",
        R"("{\"inputs\": [\"1\\n\"], \"outputs\": [\"2\\n\"]}")"}) {
    const auto cases = cases_of(column);
    ASSERT_EQ(cases.streams.size(), 1u) << column << cases.problem;
    EXPECT_EQ(cases.streams[0].input, "1\n");
    EXPECT_EQ(cases.streams[0].output, "2\n");
  }
}

TEST(CodeCases, AreCallsOfAFunction) {
  const auto wanted = Json::parse(R"([{"function": "f", "arguments": [[1, 2], 3], "expected": [4]}])");
  EXPECT_EQ(cases_of(R"({"fn_name": "f", "inputs": [[[1, 2], 3]], "outputs": [[4]]})").calls, wanted);
  EXPECT_EQ(cases_of(R"({"fn_name": "f", "inputs": ["[1, 2]\n3"], "outputs": ["[4]"]})").calls, wanted);
}

TEST(CodeCases, SayWhatIsWrongAndWhere) {
  EXPECT_EQ(cases_of("").problem, "column \"tests\" is missing at rows.jsonl:3");
  EXPECT_EQ(cases_of("[]").problem, "column \"tests\" holds no test at rows.jsonl:3");
  EXPECT_THAT(cases_of("7").problem, HasSubstr("is neither statements"));
  EXPECT_THAT(cases_of("[7]").problem, HasSubstr("has a test that is no text and no {input, output}"));
  EXPECT_THAT(cases_of(R"(["assert f", {"input": "", "output": ""}])").problem, HasSubstr("mixes"));
  EXPECT_THAT(cases_of(R"({"inputs": ["1"], "outputs": []})").problem, HasSubstr("lists of one length"));
  EXPECT_THAT(cases_of(R"({"fn_name": "f", "inputs": ["x"], "outputs": ["1"]})").problem,
              HasSubstr("not JSON"));
}

TEST(SameLines, ForgiveBlanksAtTheEndAlone) {
  EXPECT_TRUE(same_lines("1 2 \r\n3\n\n", "1 2\n3"));
  EXPECT_TRUE(same_lines("", "\n"));
  EXPECT_FALSE(same_lines("1  2", "1 2"));
  EXPECT_FALSE(same_lines("1\n2\n3", "1\n2"));
  EXPECT_FALSE(same_lines("1\n\n2", "1\n2"));
}

}  // namespace
}  // namespace sluice::rewards::code
