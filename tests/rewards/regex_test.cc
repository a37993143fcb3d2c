#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

RewardOutcome outcome_of(const Json& options, const std::string& completion, const Json& answer = "42") {
  Case from;
  from.row.columns = {{"answer", answer}};
  return score(*make_reward(spec("regex", options.dump()), {}), from, completion);
}

TEST(Regex, KeepsToItsTableOfCases) {
  EXPECT_EQ(outcome_of({{"pattern", R"(\d+)"}}, "So it is 42.").score, 1.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(\d+)"}}, "So it is.").score, 0.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(\d+)"}, {"full", true}}, "So it is 42.").score, 0.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(\d+)"}, {"full", true}}, "42\n").score, 1.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(a|ab)"}, {"full", true}}, "ab").score, 1.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(^Answer: (.*)$)"}, {"column", "answer"}}, "Answer: 42").score, 1.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(^Answer: (.*)$)"}, {"column", "answer"}}, "Answer: 43").score, 0.0);
  EXPECT_EQ(outcome_of({{"pattern", R"((?m)^Answer: (.*)$)"}, {"column", "answer"}}, "Hm.\nAnswer: 42 \nYes.")
                .score,
            1.0);
  EXPECT_EQ(
      outcome_of({{"pattern", R"((?s).*Answer: (\d+))"}, {"column", "answer"}}, "Answer: 7 Answer: 42").score,
      1.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(Answer: (\d+))"}, {"column", "answer"}}, "Answer: 7 Answer: 42").score,
            0.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(\d+)"}, {"column", "answer"}}, "it is 42").score, 1.0);
  EXPECT_EQ(outcome_of({{"pattern", "(?i)yes|no"}}, "NO").score, 1.0);
  EXPECT_EQ(outcome_of({{"pattern", "^\\p{Han}+$"}}, "\u7b54\u6848").score, 1.0);
}

TEST(Regex, SaysWhetherSomethingWasFound) {
  EXPECT_EQ(outcome_of({{"pattern", R"(\d+)"}, {"column", "answer"}}, "41").parts.at("found"), 1.0);
  EXPECT_EQ(outcome_of({{"pattern", R"(\d+)"}, {"column", "answer"}}, "x").parts.at("found"), 0.0);
}

TEST(Regex, GivesUpOnWhatBacktracksWithoutEnd) {
  const auto outcome = outcome_of({{"pattern", "(a+)+b"}}, std::string(40, 'a') + "c b");
  EXPECT_FALSE(outcome.score);
  EXPECT_THAT(outcome.unscored_reason, HasSubstr("match limit exceeded"));
  const auto deep = outcome_of({{"pattern", "^(a|b)*$"}}, std::string(3'000'000, 'a'));
  EXPECT_THAT(deep.unscored_reason, HasSubstr("limit"));
  EXPECT_EQ(outcome_of({{"pattern", "a*b"}}, std::string(900, 'a') + "b").score, 1.0);
  EXPECT_THAT(outcome_of({{"pattern", "a*b"}}, "b" + std::string(65'536, 'a') + "c").score,
              testing::Optional(1.0));
  EXPECT_FALSE(outcome_of({{"pattern", "a*[bd]"}}, std::string(65'536, 'a') + "c")
                   .score);  // two thousand million steps
}

// One that it gives up on takes no other with it.
TEST(Regex, LeavesTheOthersOfTheGroupAlone) {
  const auto reward = make_reward(spec("regex", R"({"pattern": "(a+)+b"})"), {});
  const Case from;
  const std::vector<RewardRequest> group = {from.request("aab"), from.request(std::string(40, 'a') + "c b"),
                                            from.request("c")};
  const auto outcomes = reward->score(group);
  EXPECT_EQ(outcomes[0].score, 1.0);
  EXPECT_FALSE(outcomes[1].score);
  EXPECT_EQ(outcomes[2].score, 0.0);
}

TEST(Regex, StandsBytesThatAreNoText) {
  EXPECT_EQ(outcome_of({{"pattern", "b"}},
                       "\xff\xfe"
                       "b")
                .score,
            1.0);
  EXPECT_EQ(outcome_of({{"pattern", "."}}, "\xff").score, 0.0);
  EXPECT_EQ(outcome_of({{"pattern", "a\\x{0}b"}}, std::string("a\0b", 3)).score, 1.0);
}

TEST(Regex, RefusesExpressionsThatAreNone) {
  const auto message = [](const char* options) {
    return message_of<UsageError>([&] { make_reward(spec("regex", options), {}); });
  };
  EXPECT_THAT(message(R"({"pattern": "(a"})"),
              HasSubstr("recipe.toml:7:3: reward \"regex\": the regular expression \"(a\" is wrong: missing "
                        "closing parenthesis at byte 2"));
  EXPECT_THAT(message("{}"), HasSubstr("give `pattern`"));
  EXPECT_THAT(message(R"({"pattern": "a\\Cb"})"), HasSubstr("\\C"));
  EXPECT_THAT(message(R"({"pattern": "(*LIMIT_MATCH=99999999)a"})"), HasSubstr("begins with \"(*\""));
}

}  // namespace
}  // namespace sluice::rewards
