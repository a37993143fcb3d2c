// Rejection sampling by a network that has learned nothing, of prompts that any letter answers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <set>
#include <string>

#include "base/files.h"
#include "base/json_lines.h"
#include "recipes/internal/stage_context.h"
#include "tests/recipes/recipe_folder.h"
#include "transport/collective.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// The reward is 1 for three tokens, the end among them.
const std::string kRecipe = R"(data = { path = "rows.jsonl" }
model = { hidden_size = 16, layers = 1, heads = 2, intermediate_size = 24, max_position = 32 }
tokenizer = { train = "characters" }
monitor = { redis = "off" }
rewards = [{ use = "length", target = 3 }]
rollout = { max_new_tokens = 6 }

[[stages]]
use = "rejection_sampling"
name = "best"
)";

class RejectionStage : public testing::Test {
 protected:
  RejectionStage() {
    std::string rows;
    for (const char* prompt : {"to", "be", "or", "not", "be", "the"}) {  // "be" twice
      rows += Json{{"prompt", prompt}, {"completion", "so on"}, {"level", 7}}.dump() + "\n";
    }
    folder_.write(rows, "rows.jsonl");
  }

  // Returns what the stage does, of a run of that name.
  int run(
      const std::string& name, const std::vector<std::string>& overrides = {},
      const StopRequest& stop = [] { return 0; }) {
    auto named = overrides;
    named.push_back("name=" + name);
    const auto recipe = folder_.load(kRecipe, named);
    const auto opened = open_run(folder_.path() / "runs", recipe, /*resume=*/true);
    transport::SoloCollective alone;
    return run_rejection_stage(opened.directory, recipe, recipe.stages[0], stop, alone);
  }

  fs::path file(const std::string& name) const {
    return folder_.path() / "runs" / name / "samples/best.jsonl";
  }
  Json counts(const std::string& name) const {
    return read_json(folder_.path() / "runs" / name / "stages/best.json").at("counts");
  }

  const RecipeFolder folder_;
};

TEST_F(RejectionStage, KeepsRightAnswersOfPromptsThatItAsksOnce) {
  ASSERT_EQ(run("a", {"rollout.group_size=32", "samples.per_prompt=2"}), 0);
  const auto found = counts("a");
  EXPECT_EQ(found.at("samples/prompts"), 5);
  EXPECT_EQ(found.at("samples/sampled"), 5 * 32);
  std::map<std::string, std::set<std::string>> kept;
  int64_t rows = 0;
  for_each_json_line(file("a"), [&](int64_t, const Json& row) {
    ++rows;
    EXPECT_EQ(row.at("reward"), 1.0);
    EXPECT_THAT(row.at("completion").get<std::string>().size(),
                testing::AllOf(testing::Ge(1u), testing::Le(3u)));
    EXPECT_EQ(row.at("level"), 7);
    EXPECT_GT(row.at("pass_rate"), 0.0);
    EXPECT_TRUE(kept[row.at("prompt")].insert(row.at("completion")).second) << row;
  });
  EXPECT_EQ(found.at("samples/kept"), rows);
  EXPECT_EQ(found.at("samples/kept_prompts"), std::ssize(kept));
  EXPECT_GT(rows, 0);
  for (const auto& [prompt, completions] : kept) EXPECT_LE(completions.size(), 2u);

  const auto line = read_json(folder_.path() / "runs/a/metrics.jsonl");  // it is one
  EXPECT_EQ(line.at("samples/kept"), rows);
  EXPECT_EQ(line.at("step"), 0);
}

TEST_F(RejectionStage, StoppedOrKilledItMakesTheSameFileAgain) {
  const std::vector<std::string> overrides{"rollout.group_size=32"};
  ASSERT_EQ(run("whole", overrides), 0);
  ASSERT_EQ(run("stopped", overrides, [] { return SIGTERM; }), SIGTERM);
  EXPECT_FALSE(fs::exists(file("stopped")));
  write_plain(file("stopped").parent_path() / ".tmp-best.jsonl-1", "half a li");  // as a kill leaves it
  ASSERT_EQ(run("stopped", overrides), 0);
  EXPECT_EQ(read_file(file("stopped")), read_file(file("whole")));
  EXPECT_EQ(std::distance(fs::directory_iterator(file("stopped").parent_path()), {}), 1);
}

TEST_F(RejectionStage, AsksSoManyPromptsAndKeepsPairs) {
  ASSERT_EQ(run("pairs", {"rollout.group_size=32", "samples.prompts=3", "samples.pairs=true"}), 0);
  EXPECT_EQ(counts("pairs").at("samples/prompts"), 3);
  for_each_json_line(file("pairs"), [&](int64_t, const Json& row) {
    EXPECT_LE(row.at("chosen").get<std::string>().size(), 3u);
    EXPECT_NE(row.at("rejected"), row.at("chosen"));
    EXPECT_FALSE(row.contains("reward"));
  });
}

TEST_F(RejectionStage, WithNothingToKeepSaysWhatToDo) {
  const auto error = message_of<DataError>([&] { run("none", {"samples.min_reward=2"}); });
  EXPECT_THAT(error,
              HasSubstr("best: none of 40 completions of 5 prompts has a reward of samples.min_reward = 2"));
  EXPECT_THAT(error, HasSubstr("rollout.group_size"));
  EXPECT_FALSE(fs::exists(file("none")));
}

}  // namespace
}  // namespace sluice::recipes
