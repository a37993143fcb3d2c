#include "rewards/canaries.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/rewards/reward_cases.h"

namespace sluice::rewards {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Optional;

// Says what it is told to.
class Moody final : public RewardFunction {
 public:
  const std::string& name() const override { return name_; }
  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override {
    return std::vector(group.size(), says ? RewardOutcome::scored(*says) : RewardOutcome::unscored("asleep"));
  }

  std::optional<double> says = 1.0;

 private:
  const std::string name_ = "moody";
};

struct CanariesTest : testing::Test {
  CanariesTest() {
    auto moody = std::make_unique<Moody>();
    moody_ = moody.get();
    mix_.add(std::move(moody), 1.0);
    mix_.add(make_reward(spec("exact_answer"), {}), 1.0);
  }

  Canaries read(const std::string& lines, int64_t every = 3) const {
    return Canaries(folder_.write("canaries.jsonl", lines), every, mix_.names());
  }

  const TempFolder folder_;
  Moody* moody_;
  RewardMix mix_;
};

constexpr const char* kTwo =
    R"({"prompt": "1+1=", "completion": "2", "answer": "2", "scores": {"moody": 1, "exact_answer": 1}}
{"prompt": "1+1=", "completion": "3", "answer": "2", "scores": {"exact_answer": 0}}
)";

TEST_F(CanariesTest, AreOffByWhatMovedMost) {
  auto canaries = read(kTwo);
  EXPECT_THAT(canaries.errors(mix_), ElementsAre(Optional(0.0), Optional(0.0)));
  moody_->says = 0.25;  // the second line said 1 the first time
  EXPECT_THAT(canaries.errors(mix_), ElementsAre(Optional(0.75), Optional(0.0)));
  moody_->says = 3.0;
  EXPECT_THAT(canaries.errors(mix_), ElementsAre(Optional(2.0), Optional(0.0)));
}

TEST_F(CanariesTest, HaveNothingToSayOfAScorerThatGivesNoScore) {
  auto canaries = read(kTwo);
  moody_->says = std::nullopt;
  EXPECT_THAT(canaries.errors(mix_), ElementsAre(std::nullopt, Optional(0.0)));
  moody_->says = 0.5;
  EXPECT_THAT(canaries.errors(mix_), ElementsAre(Optional(0.5), Optional(0.0)));
}

TEST_F(CanariesTest, AreDueWithOneGroupOfSoMany) {
  const auto canaries = read(kTwo);
  EXPECT_TRUE(canaries.due(0));
  EXPECT_FALSE(canaries.due(1));
  EXPECT_TRUE(canaries.due(6));
  EXPECT_FALSE(Canaries().due(0));
}

TEST_F(CanariesTest, RefuseLinesThatSayNothing) {
  const auto message = [&](const std::string& lines) { return message_of<DataError>([&] { read(lines); }); };
  EXPECT_THAT(message(R"({"completion": "a", "scores": {"mody": 1}})"),
              HasSubstr("canaries.jsonl:1: the recipe has no reward \"mody\"; did you mean \"moody\"?"));
  EXPECT_THAT(message(R"({"completion": "a", "scores": {"moody": "1"}})"),
              HasSubstr("is a number, saw string"));
  EXPECT_THAT(message(R"({"prompt": "a"})"), HasSubstr("completion"));
  EXPECT_THAT(message(""), HasSubstr("no line in it"));
}

}  // namespace
}  // namespace sluice::rewards
