#include "learner/preference_batch.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "tests/learner/preference_examples.h"
#include "tests/loss_checks.h"
#include "tests/tiny_network.h"

namespace sluice::learner {
namespace {

using Ids = std::vector<int64_t>;

Ids ids(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

PreferenceExample pair_of(std::vector<int32_t> prompt, std::vector<int32_t> chosen,
                          std::vector<int32_t> rejected) {
  return {.prompt = std::move(prompt),
          .completions = {completion_of(std::move(chosen)), completion_of(std::move(rejected))}};
}

TEST(PreferenceBatch, LetsThePromptStandOnceBeforeBothCompletions) {
  const std::vector<PreferenceExample> pairs = {pair_of({5, 6}, {7, 8, 2}, {9, 2})};
  const auto packs = pack_preferences(pairs, 100, at::kCPU);

  ASSERT_EQ(packs.size(), 1u);
  EXPECT_EQ(ids(packs[0].batch.tokens), (Ids{5, 6, 7, 8, 9}));  // the last token of each is only predicted
  EXPECT_EQ(ids(packs[0].batch.positions), (Ids{0, 1, 2, 3, 2}));
  EXPECT_EQ(packs[0].batch.prefix, (Ids{model::kNoPrefix, 0, 0}));
  EXPECT_EQ(packs[0].batch.final_lengths, (Ids{5, 5, 5}));
  EXPECT_EQ(ids(packs[0].targets.rows), (Ids{1, 2, 3, 1, 4}));
  EXPECT_EQ(ids(packs[0].targets.tokens), (Ids{7, 8, 2, 9, 2}));
  EXPECT_EQ(packs[0].lengths, (Ids{3, 2}));
  EXPECT_EQ(num_tokens(pairs[0]), 9);
}

TEST(PreferenceBatch, LeavesOutWhatDoesNotCountAndWhatFollowsIt) {
  PreferenceExample example{.prompt = {5}, .completions = {{.tokens = {7, 8, 9, 2}, .mask = {1, 0, 1, 0}}}};
  const auto packs = pack_preferences(std::vector{example}, 100, at::kCPU);
  EXPECT_EQ(ids(packs[0].batch.tokens), (Ids{5, 7, 8}));
  EXPECT_EQ(ids(packs[0].targets.rows), (Ids{0, 2}));
  EXPECT_EQ(ids(packs[0].targets.tokens), (Ids{7, 9}));
  EXPECT_EQ(packs[0].lengths, (Ids{2}));
}

TEST(PreferenceBatch, ACompletionOfOneTokenHasNoRowOfItsOwn) {
  const auto packs = pack_preferences(std::vector{pair_of({5, 6}, {2}, {7, 2})}, 100, at::kCPU);
  EXPECT_EQ(ids(packs[0].batch.tokens), (Ids{5, 6, 7}));
  EXPECT_EQ(ids(packs[0].targets.rows), (Ids{1, 1, 2}));
}

TEST(PreferenceBatch, CutsBetweenPairsAndNeverInside) {
  // 4, 6 and 3 rows at most 8 a pack: the longest first, none fits beside it; then the two others.
  const std::vector<PreferenceExample> pairs = {
      pair_of({5, 6}, {7, 2}, {8, 2}), pair_of({5, 6}, {7, 7, 2}, {8, 8, 2}), pair_of({5}, {7, 2}, {8, 2})};
  const auto packs = pack_preferences(pairs, 8, at::kCPU);
  ASSERT_EQ(packs.size(), 2u);
  EXPECT_EQ(packs[0].examples, (Ids{1}));
  EXPECT_EQ(packs[1].examples, (Ids{0, 2}));
  EXPECT_EQ(pack_preferences(pairs, 1, at::kCPU).size(), 3u);  // larger ones get a pack of their own
}

TEST(PreferenceBatch, PackedGivesWhatEachCompletionGivesAlone) {
  const auto network = tiny_network();
  const auto pairs = random_examples(7, 2, /*seed=*/3);
  for (const int64_t rows : {1 << 20, 30, 1}) {
    const auto packs = pack_preferences(pairs, rows, at::kCPU);
    const auto logps = of_all_packs(packs, [&](const PreferencePack& pack) {
      return example_logps(pack, network->logprobs(pack.batch, pack.targets, 1.0).logprobs);
    });
    ASSERT_EQ(logps.sizes(), (at::IntArrayRef{7, 2}));
    for (int64_t i = 0; i < 7; ++i) {
      for (int64_t k = 0; k < 2; ++k) {
        const auto alone = logp_alone(*network, pairs[static_cast<size_t>(i)], static_cast<size_t>(k));
        EXPECT_NEAR(logps[i][k].item<double>(), alone, 1e-5);
      }
    }
  }
}

TEST(PreferenceBatch, WeighsWhatTheShorterCompletionHasNoCounterpartOf) {
  const auto packs = pack_preferences(std::vector{pair_of({5}, {7, 8, 2}, {9})}, 100, at::kCPU);
  const auto logps = example_logps(packs[0], constant({-1, -2, -4, -8}), /*ld_alpha=*/0.5);
  expect_near(logps.view(-1), {-1 - 0.5 * 2 - 0.5 * 4, -8});
}

TEST(PreferenceBatch, HashesEverythingThatIsSaid) {
  const auto examples = random_examples(3, 2, /*seed=*/4);
  const auto hash = hash_of(examples);
  EXPECT_EQ(hash.size(), 64u);
  EXPECT_EQ(hash_of(examples), hash);
  const auto changed = [&](auto change) {
    auto other = examples;
    change(other);
    return hash_of(other);
  };
  EXPECT_NE(changed([](auto& other) { other[2].prompt[0] ^= 1; }), hash);
  EXPECT_NE(changed([](auto& other) { other[0].completions[1].tokens[0] ^= 1; }), hash);
  EXPECT_NE(changed([](auto& other) { other[0].completions[1].mask[0] ^= 1; }), hash);
  EXPECT_NE(changed([](auto& other) { std::swap(other[0], other[1]); }), hash);
}

TEST(PreferenceBatch, RefusesWhatCannotBeLearnedFrom) {
  const auto refused = [](PreferenceExample example, const char* part) {
    const std::vector<PreferenceExample> pairs = {pair_of({5}, {7}, {8}), std::move(example)};
    expect_refused([&] { pack_preferences(pairs, 10, at::kCPU); }, part);
  };
  refused(pair_of({}, {7}, {8}), "example 1 has an empty prompt");
  refused(pair_of({5}, {7}, {}), "no token of completion 1 of example 1 counts");
  refused({.prompt = {5}, .completions = {completion_of({7})}}, "has 1 completions, the first one has 2");
  refused({.prompt = {5}, .completions = {completion_of({7}), {.tokens = {8}, .mask = {}}}},
          "has 1 tokens and a mask of 0");
}

}  // namespace
}  // namespace sluice::learner
