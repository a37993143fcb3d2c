#include "actors/drafter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "actors/engine.h"
#include "actors/internal/draft_switch.h"
#include "model/model_directory.h"
#include "tests/actors/actor_cases.h"

namespace sluice::actors {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<int32_t> looked_up(const std::vector<int32_t>& prompt, const std::vector<int32_t>& output,
                               int64_t most) {
  std::vector<int32_t> draft;
  const DraftRequest request{.prompt = prompt, .output = output, .most = most, .draft = &draft};
  make_lookup_drafter()->propose({&request, 1});
  return draft;
}

TEST(LookupDrafter, ProposesWhatFollowedTheSameTokensLast) {
  EXPECT_THAT(looked_up({1, 2, 3, 4, 5, 1, 2, 9}, {8, 1, 2}, 3), ElementsAre(9, 8, 1));
  EXPECT_THAT(looked_up({1, 2, 3, 4, 5}, {7, 2, 3}, 2), ElementsAre(4, 5));
}

TEST(LookupDrafter, PrefersTheLongerMatch) {
  EXPECT_THAT(looked_up({1, 2, 3, 4, 2, 3, 5}, {6, 1, 2, 3}, 1), ElementsAre(4));
}

TEST(LookupDrafter, GoesOnWithWhatRepeats) {
  EXPECT_THAT(looked_up({1}, {5, 5, 5}, 4), ElementsAre(5, 5, 5, 5));
  EXPECT_THAT(looked_up({}, {1, 2, 1, 2, 1}, 4), ElementsAre(2, 1, 2, 1));
}

TEST(LookupDrafter, ProposesNothingOfWhatIsNew) {
  EXPECT_THAT(looked_up({1, 2, 3}, {4, 5}, 4), IsEmpty());
  EXPECT_THAT(looked_up({}, {7}, 4), IsEmpty());
}

std::unique_ptr<model::Network> golden(const char* name) {
  auto network = model::load_model(std::string(SLUICE_SOURCE_DIR) + "/data/" + name, at::kCPU);
  network->freeze();
  return network;
}

struct Generated {
  std::vector<buffers::Completion> completions;
  uint64_t drafted = 0, accepted = 0;
};

// Three prompts of different lengths, each two completions, with filters and, sampled, a penalty.
Generated generate(const model::Network& network, double temperature, std::unique_ptr<Drafter> drafter,
                   int64_t cache_tokens = 0, const std::set<int32_t>& stops = {}) {
  Engine engine(network, stops, {.max_rows = 8, .cache_tokens = cache_tokens}, nullptr, std::move(drafter));
  Generated all;
  for (uint64_t i = 0; i < 3; ++i) {
    engine.submit({.id = i,
                   .prompt = {3, 4, static_cast<int32_t>(6 + i), 3, 4},
                   .num_samples = 2,
                   .seed = 9,
                   .group = i,
                   .sampling = {.temperature = temperature,
                                .top_p = 0.95,
                                .frequency_penalty = temperature > 0 ? 0.01 : 0.0,
                                .max_new_tokens = 40 + static_cast<int64_t>(i)}});
  }
  std::vector<std::vector<buffers::Completion>> groups(3);
  while (!engine.idle()) {
    for (auto& result : engine.step(/*version=*/0)) groups[result.id] = std::move(result.completions);
  }
  for (auto& group : groups) {
    for (auto& completion : group) all.completions.push_back(std::move(completion));
  }
  all.drafted = engine.num_drafted();
  all.accepted = engine.num_accepted();
  return all;
}

void expect_same(const Generated& one, const Generated& other) {
  ASSERT_EQ(one.completions.size(), other.completions.size());
  for (size_t i = 0; i < one.completions.size(); ++i) {
    EXPECT_EQ(one.completions[i].tokens, other.completions[i].tokens);
    EXPECT_EQ(one.completions[i].logprobs, other.completions[i].logprobs);
    EXPECT_EQ(one.completions[i].kept_mass, other.completions[i].kept_mass);
    EXPECT_EQ(one.completions[i].finish, other.completions[i].finish);
  }
}

TEST(Drafts, ChangeNoBitOfACompletion) {
  const auto network = golden("goldens/llama");
  for (const double temperature : {0.0, 0.7}) {
    const auto plain = generate(*network, temperature, nullptr);
    EXPECT_EQ(plain.drafted, 0);
    const auto looked_up = generate(*network, temperature, make_lookup_drafter());
    if (temperature == 0) {
      EXPECT_GT(looked_up.drafted, 0);
    }
    expect_same(looked_up, plain);
    const auto proposed = generate(*network, temperature, make_model_drafter(*network, /*threads=*/2));
    expect_same(proposed, plain);
  }
}

TEST(Drafts, EndWhereTheCompletionEnds) {
  const auto network = golden("goldens/llama");
  const auto plain = generate(*network, 0.7, nullptr);
  for (const auto& completion : plain.completions) {
    // A token in the middle, as the one that stops.
    const std::set<int32_t> stops = {completion.tokens[completion.tokens.size() / 2]};
    const auto stopped = generate(*network, 0.7, nullptr, 0, stops);
    expect_same(generate(*network, 0.7, make_lookup_drafter(), 0, stops), stopped);
    expect_same(generate(*network, 0.7, make_model_drafter(*network, 1), 0, stops), stopped);
  }
}

TEST(Drafts, OfTheSameModelAreAllAccepted) {
  const auto network = golden("goldens/llama");
  const auto generated = generate(*network, 1.0, make_model_drafter(*network, /*threads=*/1));
  EXPECT_GT(generated.drafted, 0);
  // Behind the end of a completion nothing is kept: at most one draft of each.
  EXPECT_GE(generated.accepted + 4 * generated.completions.size(), generated.drafted);
}

TEST(Drafts, GoWithoutWhereTheCacheIsShort) {
  const auto network = golden("goldens/llama");
  const auto plain = generate(*network, 0.7, nullptr);
  expect_same(generate(*network, 0.7, make_lookup_drafter(), /*cache_tokens=*/96), plain);
  expect_same(generate(*network, 0.7, make_model_drafter(*network, 1), /*cache_tokens=*/96), plain);
}

TEST(DraftSwitch, KeepsWhatIsFasterAndTriesAgain) {
  for (const bool pays : {true, false}) {
    DraftSwitch drafts;
    int on = 0;
    for (int step = 0; step < 1088; ++step) {  // 16 with, 16 without, 512 of the better, twice
      on += drafts.on() ? 1 : 0;
      drafts.count(1.0, drafts.on() && pays ? 2 : 1);
    }
    EXPECT_EQ(on, pays ? 2 * (16 + 512) : 2 * 16);
  }
}

}  // namespace
}  // namespace sluice::actors
