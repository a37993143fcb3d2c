// `sluice data` on files of JSON lines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string shipped(const std::string& file) {
  return (fs::path(SLUICE_SOURCE_DIR) / "data" / file).string();
}

std::set<std::string> lines_of(const fs::path& file) {
  std::ifstream in(file);
  std::set<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.insert(line);
  return lines;
}

TEST(Data, CheckNamesEveryBadRow) {
  const Workspace workspace;
  write_plain(
      workspace / "rows.jsonl",
      "{\"prompt\": \"1+1\", \"answer\": \"2\"}\n\n{\"prompt\": \"\", \"answer\": \"2\"}\n{\"prompt\": \n"
      "{\"prompt\": \"1 + 1\"}\n[3]\n{\"prompt\": \"1+1\", \"answer\": \"two\"}\n");
  const auto check = sluice(workspace, {"data", "check", "rows.jsonl"});
  EXPECT_EQ(check.code, 3);
  EXPECT_THAT(
      check.out,
      AllOf(StartsWith("rows.jsonl:3: the column \"prompt\" is empty\nrows.jsonl:4: "),
            HasSubstr(
                "\nrows.jsonl:5: no column \"answer\"\nrows.jsonl:6: expected a JSON object, saw array\n"),
            HasSubstr("rows.jsonl: 6 rows, prompts (prompt) with answers (answer)\n"),
            HasSubstr("1 rows ask what an earlier one asks"), HasSubstr("wrong       4 rows")));
  const Json report = parse_json(sluice(workspace, {"data", "check", "rows.jsonl", "--json"}).out, "check");
  EXPECT_EQ(report["bad"], 4);
  EXPECT_EQ(report["problems"][1]["line"], 4);
}

// What it says of a recipe is a recipe: the lines are taken as they are.
TEST(Data, CheckSaysHowARecipeReadsTheFile) {
  const Workspace workspace;
  for (const char* file : {"gsm8k/train.jsonl", "preference/digits_train.jsonl", "conversations/train.jsonl",
                           "countdown/cold_start.jsonl"}) {
    const auto check = sluice(workspace, {"data", "check", shipped(file)});
    EXPECT_EQ(check.code, 0) << check.out << check.err;
    const auto at = check.out.find("a recipe reads it with:\n");
    ASSERT_NE(at, std::string::npos) << check.out;
    write_plain(workspace / "made.toml", check.out.substr(check.out.find('\n', at) + 1) +
                                             "model = { max_position = 2048 }\ntokenizer = { path = \"" +
                                             shipped("tokenizers/minimind") + "\" }\n");
    const auto recipe = sluice(workspace, {"check", "made.toml"});
    EXPECT_EQ(recipe.code, 0) << check.out << recipe.err;
  }
}

TEST(Data, TakesTheColumnsOfVerl) {
  const Workspace workspace;
  write_plain(
      workspace / "verl.jsonl",
      R"({"data_source": "gsm8k", "prompt": [{"role": "user", "content": "1+1?"}], "ability": "math", )"
      R"("reward_model": {"style": "rule", "ground_truth": "2"}, "extra_info": {"index": 0}})"
      "\n");
  const auto check = sluice(workspace, {"data", "check", "verl.jsonl"});
  EXPECT_EQ(check.code, 0) << check.out;
  EXPECT_THAT(check.out, HasSubstr("column = \"reward_model.ground_truth\""));
  write_plain(workspace / "answers.jsonl",
              R"({"prompt": "1+1?", "completion": "2", "reward_model": {"ground_truth": "2"}})"
              "\n");
  const auto scored = sluice(workspace, {"reward", "test", "exact_answer", "--file", "answers.jsonl",
                                         "--json", "column=reward_model.ground_truth"});
  EXPECT_EQ(scored.code, 0) << scored.err;
  EXPECT_THAT(scored.out, HasSubstr("1.0"));
}

TEST(Data, DedupKeepsTheFirstAndOverwritesNothing) {
  const Workspace workspace;
  write_plain(workspace / "rows.jsonl",
              "{\"prompt\": \"A b\"}\n{\"prompt\": \"c\"}\n{\"prompt\": \" a  B\", \"x\": 1}\n");
  const auto once = sluice(workspace, {"data", "dedup", "rows.jsonl", "--output", "once.jsonl"});
  EXPECT_EQ(once.code, 0) << once.err;
  EXPECT_EQ(read_file(workspace / "once.jsonl"), "{\"prompt\": \"A b\"}\n{\"prompt\": \"c\"}\n");
  EXPECT_EQ(sluice(workspace, {"data", "dedup", "rows.jsonl", "--output", "once.jsonl"}).code, 2);
}

TEST(Data, WhatIsWrittenMeanwhileIsNoFileOfAnybodys) {
  const Workspace workspace;
  write_plain(workspace / "new.jsonl.tmp", "{\"prompt\": \"a\"}\n");
  const auto copied = sluice(workspace, {"data", "dedup", "new.jsonl.tmp", "--output", "new.jsonl"});
  EXPECT_EQ(copied.code, 0) << copied.err;
  EXPECT_EQ(read_file(workspace / "new.jsonl"), "{\"prompt\": \"a\"}\n");
  EXPECT_EQ(read_file(workspace / "new.jsonl.tmp"), "{\"prompt\": \"a\"}\n");
}

TEST(Data, SplitKeepsEveryRowOnOneSide) {
  const Workspace workspace;
  std::string rows;
  for (int i = 0; i < 400; ++i)
    rows += "{\"prompt\": \"" + std::to_string(i / 2) + "\", \"n\": " + std::to_string(i) + "}\n";
  write_plain(workspace / "all.jsonl", rows);
  const auto split = sluice(workspace, {"data", "split", "all.jsonl", "--test", "0.25"});
  ASSERT_EQ(split.code, 0) << split.err;
  const auto train = lines_of(workspace / "all_train.jsonl"), test = lines_of(workspace / "all_test.jsonl");
  EXPECT_EQ(train.size() + test.size(), 400);
  EXPECT_NEAR(static_cast<double>(test.size()), 100, 30);
  EXPECT_EQ(sluice(workspace, {"data", "leak", "all_train.jsonl", "all_test.jsonl"}).code, 0);
  EXPECT_EQ(sluice(workspace, {"data", "split", "all.jsonl"}).code, 2);  // they are there
  EXPECT_EQ(sluice(workspace, {"data", "split", "all.jsonl", "--test", "1", "--folder", "other"}).code, 0);
  EXPECT_EQ(lines_of(workspace / "other" / "all_test.jsonl").size(), 400);
  const auto leak = sluice(workspace, {"data", "leak", "all.jsonl", "all_test.jsonl", "--json"});
  EXPECT_EQ(leak.code, 1);
  EXPECT_EQ(parse_json(leak.out, "leak")["leaked"].size(), test.size());
}

TEST(Data, ShowsTheFirstRowsInert) {
  const Workspace workspace;
  write_plain(workspace / "rows.jsonl",
              "{\"prompt\": \"\\u001b[2Jhello\"}\n{\"prompt\": \"b\"}\n{\"prompt\": \"c\"}\n");
  const auto show = sluice(workspace, {"data", "show", "rows.jsonl", "-n", "2"});
  EXPECT_EQ(show.code, 0) << show.err;
  EXPECT_THAT(show.out,
              AllOf(HasSubstr("prompt  \\x1b[2Jhello"), HasSubstr("1 more rows"), Not(HasSubstr("\x1b"))));
}

}  // namespace
}  // namespace sluice::app
