#include "recipes/internal/kept_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sluice::recipes::internal {
namespace {

using testing::ElementsAre;

struct KeptSamples : testing::Test {
  KeptSamples() {
    row.prompt = "2+2=";
    row.columns = {{"question", "2+2="}, {"answer", "4"}};
  }

  std::vector<std::string> kept(const SamplesSpec& spec, const char* column = "completion") {
    counts = {};
    std::vector<std::string> texts;
    for (const auto& kept : kept_rows(row, samples, spec, counts)) texts.push_back(kept.at(column));
    return texts;
  }

  text::Row row;
  SampleCounts counts;
  // Three right, of which two say the same; two wrong; one without a score.
  std::vector<ScoredText> samples = {{"four", 1.0}, {"5", 0.0},  {"4", 1.2},
                                     {"four", 1.0}, {"6", -1.0}, {"4!", std::nullopt}};
};

TEST_F(KeptSamples, AreRightDifferentAndTheBestFirst) {
  EXPECT_THAT(kept({}), ElementsAre("4", "four"));
  EXPECT_EQ(counts.prompts, 1);
  EXPECT_EQ(counts.sampled, 6);
  EXPECT_EQ(counts.unscored, 1);
  EXPECT_EQ(counts.right, 3);
  EXPECT_EQ(counts.duplicates, 1);
  EXPECT_EQ(counts.kept, 2);
  EXPECT_EQ(counts.kept_prompts, 1);
  EXPECT_THAT(kept({.per_prompt = 1}), ElementsAre("4"));
  EXPECT_THAT(kept({.min_reward = 1.1}), ElementsAre("4"));
  EXPECT_THAT(kept({.min_reward = 1.3}), ElementsAre());
  EXPECT_EQ(counts.kept_prompts, 0);
}

TEST_F(KeptSamples, HaveTheColumnsOfTheirRowAndTheShareOfRightAnswers) {
  const auto rows = kept_rows(row, samples, {}, counts);
  EXPECT_EQ(rows.at(0), Json({{"question", "2+2="},
                              {"answer", "4"},
                              {"prompt", "2+2="},
                              {"pass_rate", 0.6},  // 3 of 5 that have a score
                              {"completion", "4"},
                              {"reward", 1.2}}));
}

TEST_F(KeptSamples, AsPairsGoThroughBothListsAndTheShorterOneBeginsAgain) {
  samples.push_back({"7", 0.5});
  const SamplesSpec spec{.pairs = true};
  EXPECT_THAT(kept(spec, "chosen"), ElementsAre("4", "four", "4"));
  EXPECT_THAT(kept(spec, "rejected"), ElementsAre("6", "5", "7"));  // the worst first
  EXPECT_EQ(counts.kept, 3);
  EXPECT_THAT(kept({.per_prompt = 2, .pairs = true}, "rejected"), ElementsAre("6", "5"));
}

TEST_F(KeptSamples, AsPairsNeedARightAndAWrongOne) {
  samples = {{"4", 1.0}, {"4", 1.0}};
  EXPECT_THAT(kept({.pairs = true}, "chosen"), ElementsAre());
  samples = {{"5", 0.0}};
  EXPECT_THAT(kept({.pairs = true}, "chosen"), ElementsAre());
  EXPECT_EQ(counts.right, 0);
}

TEST_F(KeptSamples, AreNeverEmptyTexts) {
  samples = {{"", 1.0}, {"4", 1.0}, {"", 0.0}};
  EXPECT_THAT(kept({}), ElementsAre("4"));
  EXPECT_THAT(kept({.pairs = true}, "chosen"), ElementsAre());
  EXPECT_EQ(counts.right, 2);
}

}  // namespace
}  // namespace sluice::recipes::internal
