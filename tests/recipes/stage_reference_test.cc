#include "recipes/internal/stage_reference.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "tests/recipes/recipe_folder.h"
#include "tests/tiny_network.h"

namespace sluice::recipes {
namespace {

// A stage that begins with the first checkpoint of its run, of tiny_network().
struct Beginning {
  explicit Beginning(const std::vector<std::string>& overrides = {})
      : recipe(folder.load(kGrpo, overrides)), run(open_run(folder.path() / "runs", recipe, false)) {
    write_checkpoint(run.directory.checkpoints(), {}, {.network = *tiny_network(), .tokenizer = *tokenizer},
                     {});
    start = find_start(run.directory, recipe, stage());
    trained = load_trained(run.directory, recipe, stage(), start);
  }

  const StageSpec& stage() const { return recipe.stage("grpo"); }
  StageReference reference(const MixSpec& mix = {}) {
    return {run.directory, recipe, stage(), start, mix, *trained};
  }
  // As training does.
  void move_policy() { trained->trained().flat().detach().add_(0.05); }

  RecipeFolder folder;
  Recipe recipe;
  OpenedRun run;
  std::unique_ptr<text::Tokenizer> tokenizer = text::train_character_tokenizer("to be or not to be\n");
  StageStart start;
  std::unique_ptr<model::Network> trained;
};

const std::vector<std::string> kAdapted = {"model.lora.rank=2"};

TEST(StageReference, HasWeightsOfItsOwnThatStay) {
  Beginning beginning;
  const auto reference = beginning.reference();
  beginning.move_policy();
  EXPECT_TRUE(at::equal(reference.policy().weights(), tiny_network()->flat()));
  EXPECT_NO_THROW(reference.policy().check_unmoved());
  EXPECT_FALSE(reference.state().defined());
}

// Nothing of the checkpoint is read again: the policy's weights are there, and not a second time.
TEST(StageReference, OfAdaptersHasNoWeightsButThoseTheyStandBeside) {
  Beginning beginning(kAdapted);
  std::filesystem::remove_all(beginning.start.checkpoint.directory);
  const auto reference = beginning.reference();
  EXPECT_THROW(reference.policy().weights(), Error);
  EXPECT_FALSE(reference.state().defined());
  EXPECT_EQ(reference.policy().hash(), tiny_network()->weights_hash());
  beginning.move_policy();
  EXPECT_NO_THROW(reference.policy().check_unmoved());
  beginning.trained->flat()[3].add_(1);
  EXPECT_THROW(reference.policy().check_unmoved(), Error);
}

TEST(StageReference, ThatMovesHasWeightsOfItsOwnBesideAdapters) {
  Beginning beginning(kAdapted);
  auto reference = beginning.reference({.every = 2, .alpha = 0.5});
  const auto first = tiny_network()->flat();
  EXPECT_TRUE(at::equal(reference.policy().weights(), first));
  beginning.move_policy();
  reference.follow(*beginning.trained, /*done=*/1);
  EXPECT_TRUE(at::equal(reference.policy().weights(), first));

  reference.follow(*beginning.trained, /*done=*/2);
  const auto policy = beginning.trained->merged_flat();
  EXPECT_FALSE(at::equal(policy, first));
  EXPECT_TRUE(at::allclose(reference.policy().weights(), 0.5 * (policy + first), 1e-5, 1e-7));
  EXPECT_TRUE(at::equal(beginning.trained->flat(), first));  // what the adapters stand beside stays
  EXPECT_TRUE(at::equal(reference.state(), reference.policy().weights()));
}

}  // namespace
}  // namespace sluice::recipes
