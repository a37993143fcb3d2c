// `reward`: the scorers explained as the documentation has them, and tried on completions.
#include "rewards/reward.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "base/files.h"
#include "rewards/reward_guide.h"
#include "tests/app/model_folder.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;

struct Reward : testing::Test {
  Finished run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "reward");
    return sluice(workspace_, std::move(arguments));
  }
  Finished test(const std::string& scorer, const std::string& lines,
                std::vector<std::string> more = {}) const {
    write_plain(workspace_ / "answers.jsonl", lines);
    more.insert(more.begin(), {"test", scorer, "--file", "answers.jsonl"});
    return run(std::move(more));
  }

  Workspace workspace_;
};

TEST_F(Reward, ListsEveryScorerWithItsSentence) {
  const auto text = run({"list"});
  EXPECT_EQ(text.code, 0) << text.err;
  const Json json = parse_json(run({"list", "--json"}).out, "list");
  ASSERT_EQ(json.size(), rewards::reward_entries().size());
  for (size_t i = 0; i < json.size(); ++i) {
    const auto& entry = rewards::reward_entries()[i];
    EXPECT_EQ(json[i].at("name"), entry.name);
    EXPECT_THAT(text.out, AllOf(HasSubstr(entry.name + " "), HasSubstr(entry.summary + "\n")));
  }
}

TEST_F(Reward, ExplainsAScorerAndNamesTheNearest) {
  EXPECT_THAT(run({"explain", "gsm8k"}).out,
              AllOf(HasSubstr("rewards = [{ use = \"gsm8k\" }]"), HasSubstr("column  \"answer\""),
                    HasSubstr("5 + 13 is 18.\\n#### 18")));
  const Json json = parse_json(run({"explain", "gsm8k", "--json"}).out, "explain");
  EXPECT_EQ(json.at("options")[0].at("key"), "column");
  EXPECT_GE(json.at("cases").size(), 6);
  const auto wrong = run({"explain", "gsm8"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("there is no scorer \"gsm8\"; did you mean \"gsm8k\"?"));
}

TEST_F(Reward, TheDocumentationHasWhatExplainPrints) {
  const auto page = read_file(std::string(SLUICE_SOURCE_DIR) + "/docs/rewards.md");
  EXPECT_THAT(page, HasSubstr(run({"explain"}).out))
      << "docs/rewards.md is not what the scorers say; put the output of `build/sluice reward explain` there";
}

std::string with_line(const std::string& recipe, const std::string& key, const std::string& value) {
  const size_t begin = recipe.find(key + " = ");
  auto text = recipe;
  return text.replace(begin, recipe.find('\n', begin) - begin, key + " = " + value);
}

// Each is read by a recipe as it stands, with rows that have its column; a reward model's directory is not
// there.
TEST_F(Reward, TheRecipesOfItsExplanationsAreTaken) {
  write_plain(workspace_ / "answer.schema.json", "{}");
  write_plain(workspace_ / "rows.jsonl",
              "{\"prompt\": \"p\", \"completion\": \"c\", \"answer\": \"1\", \"reference\": \"r\", "
              "\"test_list\": [\"assert True\"]}\n");
  const std::string recipe = read_file(workspace_ / "recipe.toml");
  for (const auto& guide : rewards::reward_guides()) {
    if (guide.name == "reward_model") continue;
    const bool reads = std::ranges::count(guide.options, "column", &rewards::RewardGuide::Option::key) > 0;
    const auto data = reads ? with_line(recipe, "data", "{ path = \"rows.jsonl\" }") : recipe;
    write_plain(workspace_ / "one.toml", with_line(data, "rewards", "[" + guide.recipe + "]"));
    const auto check = sluice(workspace_, {"check", "one.toml"});
    EXPECT_EQ(check.code, 0) << guide.name << ": " << check.err;
  }
}

TEST_F(Reward, ScoresTheLinesOfAFileInOrder) {
  const auto finished = test("gsm8k",
                             R"({"prompt": "5+13", "completion": "18 it is\n#### 18", "answer": "... A: 18"}
{"prompt": "5+13", "completion": "A: 17", "answer": "So 18.\nA: 18"}

{"prompt": "5+13", "completion": "#### 18", "answer": "many"}
{"prompt": "5+13", "completion": 18, "answer": "18"}
{"prompt": [{"role": "user", "content": "5+13"}], "completion": "#### 18", "answer": 18}
)",
                             {"--json"});
  EXPECT_EQ(finished.code, 0) << finished.err;
  const auto lines = json_lines(finished.out);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_EQ(lines[0].at("score"), 1.0);  // a row's mark may stand in a line
  EXPECT_EQ(lines[1].at("score"), 0.0);
  EXPECT_EQ(lines[1].at("reason"), nullptr);
  EXPECT_EQ(lines[1].at("rewards").at("gsm8k").at("parts").at("format"), 1.0);
  EXPECT_EQ(lines[1].at("gold"), "So 18.\nA: 18");
  EXPECT_THAT(lines[2].at("reason").get<std::string>(), HasSubstr("answers.jsonl:4"));
  EXPECT_EQ(lines[3].at("score"), nullptr);
  EXPECT_EQ(lines[3].at("reason"), "\"completion\" is no text at answers.jsonl:5");
  EXPECT_EQ(lines[4].at("score"), 1.0);
  EXPECT_EQ(lines[4].at("prompt")[0].at("content"), "5+13");
}

TEST_F(Reward, TakesOptionsOfTheScorer) {
  const std::string line = R"({"completion": "<a>YES</a>", "gold": "yes"})"
                           "\n";
  EXPECT_EQ(json_lines(test("format_tags", line, {"--json", "tags=[\"a\"]"}).out)[0].at("score"), 1.0);
  const auto matched = test("regex", line, {"--json", "pattern=<a>(.*)</a>", "column=gold"});
  EXPECT_EQ(json_lines(matched.out)[0].at("score"), 0.0) << matched.err;
  EXPECT_EQ(json_lines(test("regex", line, {"--json", "pattern=(?i)<a>yes"}).out)[0].at("score"), 1.0);
  const auto wrong = test("gsm8k", line, {"colum=gold"});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("did you mean \"column\"?"));
  EXPECT_EQ(test("gsm8k", line, {"column"}).code, 2);
}

TEST_F(Reward, GoesByTokensOnlyWhereALineHasThem) {
  const auto lines =
      json_lines(test("length", "{\"completion\": \"a\", \"ids\": [5, 6, 7]}\n{\"completion\": \"a\"}\n",
                      {"--json", "max=2"})
                     .out);
  EXPECT_EQ(lines[0].at("score"), 0.5);
  EXPECT_EQ(lines[1].at("score"), nullptr);
  EXPECT_EQ(lines[1].at("reason"),
            "length goes by sampled tokens, and there is no list \"ids\" at answers.jsonl:2");
}

TEST_F(Reward, PrintsForPeople) {
  const auto text = test("gsm8k",
                         "{\"prompt\": \"5+13\", \"completion\": \"#### 18\", \"answer\": 18}\n"
                         "{\"completion\": \"#### 18\"}\n")
                        .out;
  EXPECT_THAT(text,
              HasSubstr("answers.jsonl:1\n  prompt      \"5+13\"\n  completion  \"#### 18\"\n"
                        "  gold        \"18\"\n  gsm8k       1 x 1  format 1\n  total       1\n  time "));
  EXPECT_THAT(text, HasSubstr("unscored: column \"answer\" is missing at answers.jsonl:2"));
  EXPECT_THAT(text, HasSubstr("2 rows: 1 scored, mean 1; 1 unscored\n"));
}

TEST_F(Reward, RefusesWhatItCannotRead) {
  const auto broken = test("gsm8k", "{\"completion\": \"a\"}\n{\"completion\": \n", {"--json"});
  EXPECT_EQ(broken.code, 3);
  EXPECT_THAT(broken.err, HasSubstr("answers.jsonl:2"));
  EXPECT_EQ(broken.out, "");
  EXPECT_EQ(test("gsm8k", "").code, 3);
  EXPECT_EQ(run({"test", "gsm8k", "--file", "missing.jsonl"}).code, 3);
  EXPECT_EQ(run({"test", "gsm8k"}).code, 2);  // no file
  const auto unknown = test("gsm9k", "{\"completion\": \"a\"}\n");
  EXPECT_EQ(unknown.code, 2);
  EXPECT_THAT(unknown.err, HasSubstr("did you mean \"gsm8k\"?"));
  EXPECT_EQ(test("gsm8k", "{\"completion\": \"a\"}\n", {"--stage", "grpo"}).code, 2);
}

// Its own test is run, and what it says of its answers where this build knows rewards of its kind.
struct RewardExamples : Reward, testing::WithParamInterface<std::string> {};

TEST_P(RewardExamples, WorksAsItIsWritten) {
  const std::map<std::string, std::pair<std::string, std::string>> commands = {
      {"python", {"python3 test_reward.py", "mine/reward.py"}},
      {"command", {"python3 test_judge.py", "mine/judge"}},
      {"library", {"make test reward.so", "mine/reward.so"}},
      {"http", {"python3 test_server.py", ""}}};
  const auto& [test, word] = commands.at(GetParam());
  const auto made = run({"init", "--" + GetParam(), "mine"});
  ASSERT_EQ(made.code, 0) << made.err;
  const auto files = contents(workspace_ / "mine");
  const auto again = run({"init", "--" + GetParam(), "mine"});
  EXPECT_EQ(again.code, 2);
  EXPECT_THAT(again.err, HasSubstr("is there already"));
  EXPECT_EQ(contents(workspace_ / "mine"), files);

  const auto& entries = rewards::reward_entries();
  if (std::ranges::find(entries, GetParam(), &rewards::RewardEntry::name) == entries.end())
    GTEST_SKIP() << "this build has no rewards of the kind " << GetParam();
  const std::string line = "cd '" + (workspace_ / "mine").string() + "' && PYTHONDONTWRITEBYTECODE=1 " + test;
  EXPECT_EQ(std::system(line.c_str()), 0);
  if (word.empty()) return;
  const auto scored = run({"test", word, "--file", "mine/answers.jsonl", "--json"});
  const auto lines = json_lines(scored.out);
  ASSERT_EQ(lines.size(), 3u) << scored.err;
  EXPECT_EQ(lines[0].at("score"), 1.0) << lines[0].dump();
  EXPECT_EQ(lines[1].at("score"), 0.0) << lines[1].dump();
  EXPECT_EQ(lines[2].at("score"), nullptr) << lines[2].dump();
  EXPECT_EQ(json_lines(run({"test", word, "--file", "mine/answers.jsonl"}).out).size(), 3u);  // into a pipe
}

INSTANTIATE_TEST_SUITE_P(Kinds, RewardExamples, testing::Values("python", "command", "library", "http"),
                         [](const auto& info) { return info.param; });

constexpr const char* kSums =
    R"(rewards = [{ use = "exact_answer" }, { use = "length", target = 2, weight = 0.5 }]
tokenizer = { train = "characters" }
data = { path = "sums.jsonl", completion_column = "answer" }
rollout = { prompts_per_step = 4, group_size = 2, max_new_tokens = 3 }
stages = [{ use = "grpo", steps = 2 }]
)";

struct RewardOfARecipe : Reward {
  RewardOfARecipe() {
    write_plain(workspace_ / "sums.toml", kSums);
    std::string rows;
    for (int i = 0; i < 9; ++i) {
      rows += Json{{"prompt", std::to_string(i) + "+1="}, {"answer", std::to_string(i + 1)}}.dump() + "\n";
    }
    write_plain(workspace_ / "sums.jsonl", rows);
  }
};

TEST_F(RewardOfARecipe, ScoresItsFirstRowsByTheirGoldAnswers) {
  const auto finished = run({"test", "sums.toml", "--json"});
  EXPECT_EQ(finished.code, 0) << finished.err;
  const auto lines = json_lines(finished.out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines[2].at("prompt"), "2+1=");
  EXPECT_EQ(lines[2].at("completion"), "3");
  EXPECT_EQ(lines[2].at("rewards").at("exact_answer").at("score"), 1.0);
  EXPECT_EQ(lines[2].at("rewards").at("length").at("score"), 0.5);  // one character, one token
  EXPECT_EQ(lines[2].at("score"), 1.25);
  EXPECT_EQ(json_lines(run({"test", "sums.toml", "--json", "-n", "2"}).out).size(), 2u);
}

TEST_F(RewardOfARecipe, ScoresCompletionsOfAFile) {
  write_plain(workspace_ / "answers.jsonl",
              "{\"completion\": \"1\"}\n{\"completion\": \"1\"}\n"
              "{\"prompt\": \"p\", \"completion\": \"12\", \"answer\": \"12\"}\n");
  const auto lines = json_lines(run({"test", "sums.toml", "--file", "answers.jsonl", "--json"}).out);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].at("prompt"), "0+1=");  // of the dataset's row of the same number
  EXPECT_EQ(lines[0].at("score"), 1.25);
  EXPECT_EQ(lines[1].at("gold"), "2");
  EXPECT_EQ(lines[1].at("score"), 0.25);
  EXPECT_EQ(lines[2].at("score"), 1.5);
}

TEST_F(RewardOfARecipe, MeasuresEachScorer) {
  const auto lines = json_lines(run({"test", "sums.toml", "--profile", "--json", "-n", "9"}).out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0].at("reward"), "exact_answer");
  EXPECT_GT(lines[0].at("samples_per_s"), 1000.0);
  EXPECT_EQ(lines[1].at("rows"), 9);
}

}  // namespace
}  // namespace sluice::app
