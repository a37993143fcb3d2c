#include "buffers/rollout_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "tests/buffers/group_cases.h"

namespace sluice::buffers {
namespace {

using testing::HasSubstr;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

TEST(RolloutGroup, CountsTheTokensThePolicyChose) {
  const auto group = small_group(3, /*version=*/4);

  EXPECT_EQ(group.num_tokens(), 3);
  EXPECT_EQ(group.oldest_version(), 4);  // the 0 is of a token that was not chosen
  EXPECT_EQ(RolloutGroup().oldest_version(), 0);
}

TEST(RolloutGroup, ComesBackFromItsBytesUnchanged) {
  const auto group = small_group(3, 4);

  const auto back = decode_group(encode_group(group));

  EXPECT_EQ(encode_group(back), encode_group(group));
  EXPECT_EQ(back.group, 3u);
  EXPECT_EQ(back.attempt, 1);
  EXPECT_EQ(back.prompt_text, "2+2=");
  ASSERT_EQ(back.completions.size(), 2u);
  EXPECT_EQ(back.completions[0].tokens, (std::vector<int32_t>{8, 9, 2}));
  EXPECT_EQ(back.completions[0].logprobs, (std::vector<float>{-0.5f, 0.0f, -1.25f}));
  EXPECT_EQ(back.completions[0].versions, (std::vector<int64_t>{5, 0, 4}));
  EXPECT_EQ(back.completions[0].finish, FinishReason::Stop);
  EXPECT_EQ(back.completions[0].outcomes[0].parts.at("right"), 1.0);
  EXPECT_EQ(back.completions[0].outcomes[1].unscored_reason, "timeout");
  EXPECT_EQ(back.completions[1].text, std::string("\0\xff", 2));
  ASSERT_EQ(back.greedy.size(), 2u);
  EXPECT_EQ(back.greedy[0].score, 0.25);
  EXPECT_EQ(back.greedy[1].unscored_reason, "crash");
  ASSERT_EQ(back.scorers.size(), 2u);
  EXPECT_EQ(back.scorers[0].seconds, 0.5);
  EXPECT_EQ(back.scorers[0].canary_error, 0.25);
  EXPECT_EQ(back.scorers[1].canary_error, std::nullopt);
  EXPECT_EQ(back.scorers[1].cached, 3);
  ASSERT_TRUE(back.tools.has_value());
  EXPECT_EQ(back.tools->calls, 5);
  EXPECT_EQ(back.tools->failed, 2);
  EXPECT_EQ(back.tools->seconds, 0.75);
  EXPECT_EQ(back.actor, "actor-1");
  EXPECT_EQ(back.incarnation, 0x1234567890abcdefu);
  EXPECT_EQ(back.sequence, 77u);
}

TEST(RolloutGroup, IsRefusedWhereverItsBytesEndEarlyOrLate) {
  const std::string bytes = encode_group(small_group(3));

  for (size_t n = 0; n < bytes.size(); ++n) EXPECT_THROW(decode_group(bytes.substr(0, n)), DataError) << n;
  EXPECT_THROW(decode_group(bytes + '\0'), DataError);
}

TEST(RolloutGroup, IsNeverHalfReadFromDamagedBytes) {
  const std::string bytes = encode_group(small_group(3));

  for (size_t at = 0; at < bytes.size(); ++at) {
    for (const int flip : {0x01, 0x80, 0xff}) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ flip);
      try {
        EXPECT_EQ(encode_group(decode_group(damaged)).size(), bytes.size()) << at;
      } catch (const DataError&) {
        // Refused; anything else thrown fails the test.
      }
    }
  }
}

TEST(RolloutGroup, IsRefusedWhenItsNumbersDoNotHoldTogether) {
  struct Wrong {
    const char* what;
    std::function<void(RolloutGroup&)> make;
  };
  const std::vector<Wrong> cases = {
      {"prompt holds token -1", [](auto& g) { g.prompt[0] = -1; }},
      {"completion holds token 100", [](auto& g) { g.completions[1].tokens[0] = 100; }},
      {"version[0] is -1", [](auto& g) { g.completions[1].versions[0] = -1; }},
      {"mask[0] is 2", [](auto& g) { g.completions[1].mask[0] = 2; }},
      {"1 tokens, 1 mask entries, 2 log-probs", [](auto& g) { g.completions[1].logprobs.push_back(-1.0f); }},
      {"0 completions", [](auto& g) { g.completions.clear(); }},
      {"3 completions", [](auto& g) { g.completions.push_back(g.completions[1]); }},
      {"completion of 5 tokens",
       [](auto& g) {
         g.completions[0].tokens = {1, 1, 1, 1, 1};
       }},
      {"finish reason 9", [](auto& g) { g.completions[0].finish = static_cast<FinishReason>(9); }},
      {"a score is nan", [](auto& g) { g.completions[0].outcomes[0].score = kNaN; }},
      {"part \"right\" of a score is nan",
       [](auto& g) { g.completions[0].outcomes[0].parts["right"] = kNaN; }},
      {"neither a score nor a reason", [](auto& g) { g.completions[0].outcomes[1] = {}; }},
      {"attempt -1", [](auto& g) { g.attempt = -1; }},
      {"step -7", [](auto& g) { g.step = -7; }},
  };
  const GroupLimits limits = {.max_samples = 2, .max_tokens = 4, .vocab_size = 100};
  EXPECT_NO_THROW(decode_group(encode_group(small_group(3)), limits));

  for (const auto& wrong : cases) {
    auto group = small_group(3);
    wrong.make(group);
    const auto message = message_of<DataError>([&] { decode_group(encode_group(group), limits); });
    EXPECT_THAT(message, HasSubstr("rollout group 3"));
    EXPECT_THAT(message, HasSubstr(wrong.what));
  }
}

TEST(RolloutGroup, OfAnotherFormatIsNamedAsSuch) {
  std::string bytes = encode_group(small_group(3));
  bytes[0] = 9;

  EXPECT_THAT(message_of<DataError>([&] { decode_group(bytes); }),
              HasSubstr("format 9, this program reads 5"));
}

}  // namespace
}  // namespace sluice::buffers
