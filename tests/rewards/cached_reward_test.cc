#include "rewards/internal/cached_reward.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "rewards/canaries.h"
#include "rewards/reward_mix.h"
#include "tests/rewards/plugins/plugin_cases.h"

namespace sluice::rewards {
namespace {

using internal::CachedReward;

// The length of a completion; "?" has no score. Counts what it was asked for.
class Counting final : public RewardFunction {
 public:
  Counting(int64_t& asked, bool whole_groups) : asked_(asked), whole_groups_(whole_groups) {}
  const std::string& name() const override { return name_; }
  bool takes_whole_groups() const override { return whole_groups_; }
  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override {
    std::vector<RewardOutcome> outcomes;
    for (const auto& request : group) {
      ++asked_;
      outcomes.push_back(request.completion == "?"
                             ? RewardOutcome::unscored("busy")
                             : RewardOutcome::scored(static_cast<double>(request.completion.size()),
                                                     {{"asked", static_cast<double>(asked_)}}));
    }
    return outcomes;
  }

 private:
  const std::string name_ = "counting";
  int64_t& asked_;
  const bool whole_groups_;
};

Case about(const std::string& prompt, const Json& columns = Json::object()) {
  Case out;
  out.row.prompt = prompt;
  out.row.columns = columns;
  return out;
}

TEST(CachedReward, AsksOnceForWhatIsTheSame) {
  int64_t asked = 0;
  CachedReward reward(std::make_unique<Counting>(asked, false));
  const auto first = score_group(reward, about("1+1="), {"a", "bb", "a"});
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(reward.num_cached(), 1);
  EXPECT_EQ(first[0].score, 1.0);
  EXPECT_EQ(first[1].score, 2.0);
  EXPECT_EQ(first[2].score, 1.0);
  const auto second = score_group(reward, about("1+1="), {"bb", "ccc"});
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(reward.num_cached(), 2);
  EXPECT_EQ(second[0].parts, first[1].parts);
  EXPECT_EQ(second[1].score, 3.0);
  const auto sum = about("1+1=");
  const auto request = sum.request("ccc");
  EXPECT_EQ(reward.score_each({&request, 1})[0].score, 3.0);
  EXPECT_EQ(asked, 3);
}

TEST(CachedReward, AsksAgainForWhatDiffersInAnything) {
  int64_t asked = 0;
  CachedReward reward(std::make_unique<Counting>(asked, false));
  auto cut = about("p");
  cut.truncated = true;
  auto other_tokens = about("p");
  other_tokens.tokens = {1, 2};
  for (const auto& from : {about("p"), about("q"), about("p", {{"answer", "2"}}), cut, other_tokens}) {
    score(reward, from, "a");
    score(reward, from, "a");
  }
  EXPECT_EQ(asked, 5);
  EXPECT_EQ(reward.num_cached(), 5);
}

TEST(CachedReward, RemembersNoFailure) {
  int64_t asked = 0;
  CachedReward reward(std::make_unique<Counting>(asked, false));
  EXPECT_FALSE(score(reward, about("p"), "?").score);
  EXPECT_FALSE(score(reward, about("p"), "?").score);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(reward.num_cached(), 0);
}

TEST(CachedReward, TakesAWholeGroupAsOne) {
  int64_t asked = 0;
  CachedReward reward(std::make_unique<Counting>(asked, true));
  EXPECT_TRUE(reward.takes_whole_groups());
  score_group(reward, about("p"), {"a", "bb"});
  const auto again = score_group(reward, about("p"), {"a", "bb"});
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(reward.num_cached(), 2);
  EXPECT_EQ(again[1].score, 2.0);
  score_group(reward, about("p"), {"bb", "a"});  // another group
  EXPECT_EQ(asked, 4);
}

TEST(CachedReward, ForgetsTheOldestAtItsBound) {
  int64_t asked = 0;
  CachedReward reward(std::make_unique<Counting>(asked, false), /*max_bytes=*/2'000);
  for (int i = 0; i < 100; ++i) score(reward, about("p"), std::to_string(i));
  EXPECT_EQ(asked, 100);
  score(reward, about("p"), "99");
  EXPECT_EQ(asked, 100);
  score(reward, about("p"), "0");
  EXPECT_EQ(asked, 101);
}

TEST(CachedReward, CanariesAreAskedAfresh) {
  int64_t asked = 0;
  RewardMix mix;
  mix.add(std::make_unique<CachedReward>(std::make_unique<Counting>(asked, false)), 1.0);
  const TempFolder folder;
  const auto file =
      folder.write("canaries.jsonl", R"({"prompt": "p", "completion": "ab", "scores": {"counting": 2}})");
  Canaries canaries(file, 1, {"counting"});
  canaries.errors(mix);
  canaries.errors(mix);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(mix.num_cached(0), 0);
}

// A plug-in that says of itself, by the recipe, that it is pure; and without the word it is not taken as
// such.
TEST(CachedReward, IsForAPlugInThatIsPure) {
  const PluginFolder folder;
  folder.write("my.py", R"(
def reward(completions, **columns):
    with open("asked", "a") as file:
        file.write("x" * len(completions))
    return [float(len(text)) for text in completions]
)");
  const auto asked = [&] { return std::filesystem::file_size(folder / "asked"); };
  const auto pure = folder.make("python", "my.py:reward", {{"pure", true}});
  EXPECT_EQ(score(*pure, about("p"), "abc").score, 3.0);
  EXPECT_EQ(score(*pure, about("p"), "abc").score, 3.0);
  EXPECT_EQ(asked(), 1u);
  EXPECT_EQ(pure->num_cached(), 1);
  const auto plain = folder.make("python", "my.py:reward");
  score(*plain, about("p"), "abc");
  score(*plain, about("p"), "abc");
  EXPECT_EQ(asked(), 3u);
  EXPECT_THROW(folder.make("python", "my.py:reward", {{"pure", "yes"}}), UsageError);
  EXPECT_THROW(make_reward(spec("exact_answer", R"({"pure": true})"), {}), UsageError);
}

}  // namespace
}  // namespace sluice::rewards
