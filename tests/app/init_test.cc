// `sluice init`: what it writes is a recipe that runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

void expect_checked(const Workspace& workspace, const std::string& name) {
  const auto check = sluice(workspace, {"check", name + "/recipe.toml"});
  EXPECT_EQ(check.code, 0) << name << ": " << check.out << check.err;
  EXPECT_THAT(check.out, HasSubstr("ok; start it with"));
}

TEST(Init, WritesRecipesThatCheckAccepts) {
  const Workspace workspace;
  for (const char* from : {"gsm8k", "countdown", "preference"}) {
    const auto init = sluice(workspace, {"init", from, "--from", from});
    ASSERT_EQ(init.code, 0) << init.err;
    EXPECT_THAT(init.out, HasSubstr("sluice run recipe.toml"));
    EXPECT_THAT(read_file(workspace / from / "README.md"),
                AllOf(HasSubstr("sluice run recipe.toml --resume"), HasSubstr("sluice top runs/")));
    expect_checked(workspace, from);
  }
}

TEST(Init, OverwritesNothing) {
  const Workspace workspace;
  ASSERT_EQ(sluice(workspace, {"init", "first", "--from", "countdown"}).code, 0);
  const auto before = contents(workspace / "first");
  const auto again = sluice(workspace, {"init", "first", "--from", "gsm8k"});
  EXPECT_EQ(again.code, 2);
  EXPECT_THAT(again.err, HasSubstr("is there already"));
  EXPECT_EQ(contents(workspace / "first"), before);
}

TEST(Init, ReadsRowsOfOnesOwn) {
  const Workspace workspace;
  std::string prompts, examples, pairs, judged;
  for (int i = 0; i < 60; ++i) {
    const std::string n = std::to_string(i);
    prompts += "{\"question\": \"" + n + "+1?\", \"answer\": \"#### " + std::to_string(i + 1) + "\"}\n";
    examples += "{\"prompt\": \"" + n + "\", \"completion\": \"a" + n + "\"}\n";
    pairs += "{\"prompt\": \"" + n + "\", \"chosen\": \"a\", \"rejected\": \"b\"}\n";
    judged +=
        "{\"prompt\": \"" + n + "\", \"completion\": \"a\", \"label\": " + (i % 2 ? "true" : "false") + "}\n";
  }
  const std::map<std::string, std::string> files = {{"prompts", prompts},
                                                    {"examples", examples},
                                                    {"pairs", pairs},
                                                    {"judged", judged},
                                                    {"few", "{\"text\": \"to be\"}\n"}};
  for (const auto& [name, rows] : files) {
    write_plain(workspace / (name + ".jsonl"), rows);
    const auto init = sluice(workspace, {"init", "from_" + name, "--from", name + ".jsonl"});
    ASSERT_EQ(init.code, 0) << init.err;
    expect_checked(workspace, "from_" + name);
  }
  EXPECT_THAT(read_file(workspace / "from_prompts" / "recipe.toml"),
              AllOf(HasSubstr("use = \"gsm8k\""), HasSubstr("prompt_column = \"question\""),
                    HasSubstr("prompts_test.jsonl")));
}

TEST(Init, SaysWhatItCannotBeginWith) {
  const Workspace workspace;
  EXPECT_THAT(sluice(workspace, {"init", "a", "--from", "gsm8"}).err, HasSubstr("did you mean \"gsm8k\"?"));
  EXPECT_EQ(sluice(workspace, {"init", "a", "--from", "nowhere.jsonl"}).code, 3);
  EXPECT_EQ(sluice(workspace, {"init", "../a b", "--from", "gsm8k"}).code, 2);
  write_plain(workspace / "odd.jsonl", "{\"id\": 1}\n");
  EXPECT_THAT(sluice(workspace, {"init", "a", "--from", "odd.jsonl"}).err, HasSubstr("sluice data check"));
  write_plain(workspace / "late.jsonl", "{\"prompt\": \"1+1=\"}\n{\"id\": 1}\n");
  EXPECT_THAT(sluice(workspace, {"init", "a", "--from", "late.jsonl"}).err, HasSubstr("late.jsonl:2"));
  EXPECT_FALSE(fs::exists(workspace / "a"));
}

}  // namespace
}  // namespace sluice::app
