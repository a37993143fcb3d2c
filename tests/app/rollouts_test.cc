// `sluice rollouts`: samples side by side, whatever they say.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Rollouts : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    workspace_ = new Workspace;
    const auto run = sluice(*workspace_, {"run", "recipe.toml", "sft.steps=2", "grpo.steps=3"});
    ASSERT_EQ(run.code, 0) << run.out << run.err;
  }
  static void TearDownTestSuite() { delete workspace_; }

  static std::filesystem::path file(int64_t step) {
    return workspace_->run() / "rollouts" / ("step_00000" + std::to_string(step) + ".jsonl");
  }
  static Finished rollouts(std::vector<std::string> more, const std::string& columns = "100") {
    more.insert(more.begin(), {"rollouts", "runs/tiny"});
    return sluice(*workspace_, more, {{"COLUMNS", columns}});
  }
  // The last step's file becomes one group of these texts.
  static void plant(const std::vector<std::string>& texts) {
    Json completions = Json::array();
    for (const auto& text : texts)
      completions.push_back(
          {{"text", text}, {"reward", 0.5}, {"advantage", 0.0}, {"outcomes", {0.5}}, {"tokens", 3}});
    const Json group = {{"group", 7},
                        {"prompt", texts.front()},
                        {"actor", "actor-0"},
                        {"version", 1},
                        {"completions", completions}};
    write_plain(file(5), group.dump(-1, ' ', false, Json::error_handler_t::ignore) + "\n");
  }

  static Workspace* workspace_;
};
Workspace* Rollouts::workspace_ = nullptr;

TEST_F(Rollouts, ShowsRewardsAdvantagesAndTextsOfAStep) {
  const auto shown = rollouts({"--step", "4"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, AllOf(HasSubstr("runs/tiny, step 4 of grpo\n"), HasSubstr(" of actor-"),
                               HasSubstr("#1  reward 0"), HasSubstr("  adv "), HasSubstr("real_words 0"),
                               HasSubstr("log-ratio mean "), HasSubstr(" | #2  reward"),
                               HasSubstr("1 more groups; --all")));
  EXPECT_THAT(shown.out, Not(HasSubstr("\x1b")));  // a file is no terminal
}

// The actors of step 5 sampled one version behind, so that the learner finds their tokens more or less
// likely.
TEST_F(Rollouts, RecordsHowTheLearnerSawEachToken) {
  const Json report = parse_json(rollouts({"--json"}).out, "rollouts");
  EXPECT_EQ(report["step"], 5);
  EXPECT_EQ(report["rewards"], Json::array({"real_words"}));
  double sum = 0;
  for (const auto& group : report["groups"]) {
    for (const auto& completion : group["completions"]) {
      EXPECT_EQ(completion["ids"].size(), completion["tokens"]);
      ASSERT_EQ(completion["log_ratios"].size(), completion["tokens"]);
      for (const auto& ratio : completion["log_ratios"]) sum += std::abs(ratio.get<double>());
    }
  }
  EXPECT_GT(sum, 0);
  const Json first =
      parse_json(rollouts({"--json", "--step", "3"}).out, "rollouts");  // on-policy: equal bits
  for (const auto& ratio : first["groups"][0]["completions"][0]["log_ratios"]) EXPECT_EQ(ratio, 0.0);
}

TEST_F(Rollouts, SaysWhichStepsThereAre) {
  const auto missing = rollouts({"--step", "77"});
  EXPECT_EQ(missing.code, 2);
  EXPECT_THAT(missing.err, HasSubstr("step 77 has none; runs/tiny has them of steps 3 to 5"));
  EXPECT_THAT(rollouts({"--group", "999999"}).err, HasSubstr("step 5 has no group 999999"));
  EXPECT_EQ(sluice(*workspace_, {"rollouts", "nowhere"}).code, 3);
}

TEST_F(Rollouts, OfANarrowTerminalStandBelowEachOther) {
  for (const char* columns : {"40", "1"}) {
    const auto narrow = rollouts({"--step", "4"}, columns);
    EXPECT_EQ(narrow.code, 0) << narrow.err;
    EXPECT_THAT(narrow.out, Not(HasSubstr(" | #2")));
  }
}

TEST_F(Rollouts, OfHostileTextsAreInert) {
  const std::string before = read_file(file(5));
  plant(
      {"\x1b]0;owned\x07\x1b[2J\x1b[31mred\xC2\x9b"
       "0m\r\xE2\x80\xAE"
       "evil",
       std::string("bytes \xFF\xFE\0 end", 13)});
  const auto shown = rollouts({"--step", "5"});
  EXPECT_EQ(shown.code, 0) << shown.err;
  for (const char c : shown.out) EXPECT_TRUE(c == '\n' || static_cast<unsigned char>(c) >= 0x20) << int(c);
  EXPECT_THAT(shown.out,
              AllOf(HasSubstr("\\x1b]0;owned"), Not(HasSubstr("\xC2\x9b")), Not(HasSubstr("\xE2\x80\xAE"))));
  const auto json = rollouts({"--json", "--step", "5"});
  for (const char c : json.out) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7F)) << int(c);

  plant({std::string(10'000'000, 'x'), "short"});
  const auto cut = rollouts({"--step", "5"});
  EXPECT_EQ(cut.code, 0) << cut.err;
  EXPECT_LT(cut.out.size(), 10'000);
  EXPECT_GT(rollouts({"--step", "5", "--full"}).out.size(), 10'000'000);
  write_plain(file(5), before);
}

}  // namespace
}  // namespace sluice::app
