#include "recipes/run_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/files.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

struct RunDirectoryTest : testing::Test {
  Recipe recipe(const std::vector<std::string>& overrides = {}) const {
    return recipes_.load(kGrpo, overrides);
  }
  OpenedRun open(bool resume = false, const std::vector<std::string>& overrides = {}) const {
    return open_run(runs(), recipe(overrides), resume);
  }
  fs::path runs() const { return fs::weakly_canonical(recipes_.path() / "runs"); }
  fs::path root() const { return runs() / "recipe"; }

  RecipeFolder recipes_;
};

TEST_F(RunDirectoryTest, KeepsTheResolvedRecipe) {
  const auto run = open();
  EXPECT_FALSE(run.resumed);
  EXPECT_EQ(run.directory.root(), root());
  EXPECT_EQ(run.directory.id().size(), 16u);
  EXPECT_EQ(RunDirectory(root()).recipe().resolved, recipe().resolved);
  EXPECT_EQ(read_json(root() / "run.json").at("id"), run.directory.id());
}

TEST_F(RunDirectoryTest, TwoRunsAreNotTheSame) {
  const auto one = open(), other = open(false, {"name=other"});
  EXPECT_NE(one.directory.id(), other.directory.id());
  EXPECT_TRUE(fs::exists(runs() / "other" / "run.json"));
}

TEST_F(RunDirectoryTest, RefusesAUsedNameUnlessToldToResume) {
  std::string id;
  {
    const auto run = open();
    id = run.directory.id();
  }
  const auto said = message_of<UsageError>([&] { open(); });
  EXPECT_THAT(said, HasSubstr(root().string() + " is used"));
  EXPECT_THAT(said, HasSubstr("--resume"));
  EXPECT_THAT(said, HasSubstr("--name"));

  const auto resumed = open(/*resume=*/true);
  EXPECT_TRUE(resumed.resumed);
  EXPECT_EQ(resumed.directory.id(), id);
}

TEST_F(RunDirectoryTest, ResumingWhatIsNotThereStartsIt) { EXPECT_FALSE(open(/*resume=*/true).resumed); }

TEST_F(RunDirectoryTest, CountsAHalfMadeOneAsNew) {
  fs::create_directories(root() / "checkpoints");
  write_plain(root() / "recipe.resolved.json", "{ torn");
  const auto run = open();
  EXPECT_FALSE(run.resumed);
  EXPECT_EQ(run.directory.recipe().resolved, recipe().resolved);
}

TEST_F(RunDirectoryTest, RefusesToResumeAnotherRecipeAndNamesTheFirstDifference) {
  open();
  const auto said = [&](const std::string& override) {
    return message_of<UsageError>([&] { open(/*resume=*/true, {override}); });
  };
  EXPECT_THAT(said("grpo.optim.lr=0.5"), HasSubstr("stages.grpo.optim.lr was 1e-06 and is now 0.5"));
  EXPECT_THAT(said("seed=2"), HasSubstr("seed was 0 and is now 2"));
  EXPECT_THAT(said("rewards=[{use=\"length\", max=4}]"), HasSubstr("stages.grpo.rewards"));
  EXPECT_EQ(RunDirectory(root()).recipe().resolved, recipe().resolved);  // as it was
  EXPECT_TRUE(open(/*resume=*/true).resumed);
}

TEST_F(RunDirectoryTest, TakesNoNameThatLeavesTheFolder) {
  for (const char* name : {"", ".", "..", "a/b"}) {
    const auto named = recipe({"name=" + Json(name).dump()});
    EXPECT_THAT(message_of<UsageError>([&] { open_run(runs(), named, false); }), HasSubstr("is no name"))
        << name;
  }
  EXPECT_FALSE(fs::exists(runs()));
}

TEST_F(RunDirectoryTest, IsFreeWhenItsHolderIsGone) {
  { const auto run = open(); }
  EXPECT_TRUE(open(/*resume=*/true).resumed);
}

TEST_F(RunDirectoryTest, KnowsWhichStageIsNext) {
  const auto both = recipes_.load(kGrpo + "[[stages]]\nuse = \"eval\"\n");
  const auto run = open_run(runs(), both, false);
  EXPECT_EQ(run.directory.next_stage(both), "grpo");
  EXPECT_EQ(run.directory.stage_result("grpo"), std::nullopt);
  run.directory.write_stage_result("grpo", {{"name", "grpo"}, {"seconds", 1.5}});
  EXPECT_EQ(run.directory.next_stage(both), "eval");
  EXPECT_EQ(run.directory.stage_result("grpo")->at("seconds"), 1.5);
  run.directory.write_stage_result("eval", {{"name", "eval"}});
  EXPECT_EQ(run.directory.next_stage(both), std::nullopt);
}

TEST_F(RunDirectoryTest, NamesItsFiles) {
  const auto run = open();
  EXPECT_EQ(run.directory.rollouts(12), root() / "rollouts" / "step_000012.jsonl");
  EXPECT_EQ(run.directory.log("actor", 1), root() / "logs" / "actor-1.log");
  EXPECT_EQ(run.directory.journal("grpo"), root() / "journal" / "grpo.log");
  EXPECT_EQ(run.directory.rollout_address(recipe().stages[0]),
            "ipc://" + (root() / "rollouts.sock").string());
  EXPECT_EQ(run.directory.rollout_address(recipe({"rollout.address=tcp://127.0.0.1:4000"}).stages[0]),
            "tcp://127.0.0.1:4000");
}

// A socket's path has at most 107 bytes.
TEST_F(RunDirectoryTest, FindsAShortPlaceForTheSocketOfALongName) {
  const std::string name(100, 'x');
  const auto run = open(false, {"name=" + name});
  const auto address = run.directory.rollout_address(recipe().stages[0]);
  EXPECT_LE(address.size(), std::string("ipc://").size() + 107);
  EXPECT_EQ(address, RunDirectory(runs() / name).rollout_address(recipe().stages[0]));
}

TEST_F(RunDirectoryTest, IsNotAnyFolder) {
  EXPECT_THAT(message_of<DataError>([&] { RunDirectory(recipes_.path()); }),
              HasSubstr("is no run directory"));
  open(false, {"name=first"});
  EXPECT_THAT(message_of<DataError>([&] { RunDirectory(runs() / "frist"); }),
              HasSubstr("did you mean \"first\"?"));
  EXPECT_EQ(RunDirectory(runs() / "first" / "").root(), runs() / "first");
  write_plain(recipes_.path() / "run.json", "{}");
  EXPECT_THAT(message_of<DataError>([&] { RunDirectory(recipes_.path()); }), HasSubstr("id"));
}

}  // namespace
}  // namespace sluice::recipes
