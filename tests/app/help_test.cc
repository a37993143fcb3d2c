// What the program says of itself: every command's help, one key, the manual page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr size_t kLines = 25, kColumns = 100;

std::vector<std::string> words_of(const std::string& line) {
  std::vector<std::string> words;
  std::istringstream in(line);
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

// As a shell takes it: words, of which some stand in single quotes.
std::vector<std::string> shell_words(const std::string& line) {
  std::vector<std::string> words(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '\'') {
      quoted = !quoted;
    } else if (c == ' ' && !quoted) {
      words.emplace_back();
    } else {
      words.back() += c;
    }
  }
  return words;
}

Json manual(const Workspace& workspace) {
  return parse_json(sluice(workspace, {"help", "--json"}).out, "manual");
}

TEST(Help, OfEveryCommandFitsAScreenAndEndsInAnExample) {
  const Workspace workspace;
  const Json pages = manual(workspace);
  ASSERT_GT(pages.size(), 40);
  for (const auto& page : pages) {
    const std::string command = page["command"];
    auto arguments = words_of(command);
    arguments.push_back("--help");
    const auto help = sluice(workspace, arguments);
    EXPECT_EQ(help.code, 0) << command;
    size_t lines = 0;
    std::istringstream text(help.out);
    for (std::string line; std::getline(text, line); ++lines) EXPECT_LE(line.size(), kColumns) << line;
    EXPECT_LE(lines, kLines) << command;
    EXPECT_FALSE(page["example"].get<std::string>().empty()) << command;
    EXPECT_THAT(help.out, HasSubstr("\nExample: " + page["example"].get<std::string>() + "\n"));
    EXPECT_THAT(help.out, HasSubstr("Usage: sluice" + (command.empty() ? "" : " " + command)));
  }
}

// Typed in a folder that has nothing of what they name: what is refused is a file, never the line itself.
TEST(Help, ExamplesAreLinesThatTheProgramTakes) {
  const Workspace workspace;
  for (const auto& page : manual(workspace)) {
    const std::string example = page["example"];
    auto arguments = shell_words(example);
    ASSERT_EQ(arguments.front(), "sluice") << example;
    const std::string command = page["command"];
    EXPECT_THAT(example, StartsWith(command.empty() ? "sluice " : "sluice " + command)) << example;
    std::vector<std::string> known;
    for (const auto& option : page["options"]) known.push_back(option["name"]);
    for (const auto& word : arguments) {
      const bool is_known = std::ranges::count(known, word) > 0;
      EXPECT_TRUE(!word.starts_with("--") || command.empty() || command == "bench" || is_known) << example;
    }
    if (command.starts_with("bench")) continue;  // these would measure
    arguments.erase(arguments.begin());
    EXPECT_THAT(sluice(workspace, arguments).err, Not(HasSubstr("says what it takes"))) << example;
  }
}

TEST(Help, IsNamedWhereALineLacksSomething) {
  const Workspace workspace;
  const auto top = sluice(workspace, {"top"});
  EXPECT_EQ(top.code, 2);
  EXPECT_EQ(top.err, "sluice top: run is required; `sluice top --help` says what it takes\n");
  const auto shell = sluice(workspace, {"completion", "tcsh"});
  EXPECT_EQ(shell.code, 2);
  EXPECT_THAT(shell.err, AllOf(StartsWith("sluice completion: "), HasSubstr("{bash,zsh,fish}")));
}

TEST(Help, AllOfACommandIsBehindHelpAll) {
  const Workspace workspace;
  const auto some = sluice(workspace, {"generate", "--help"});
  EXPECT_THAT(some.out, AllOf(HasSubstr("More options: "), HasSubstr("--logit-bias"),
                              Not(HasSubstr("Added to the logit"))));
  EXPECT_THAT(sluice(workspace, {"generate", "--help-all"}).out, HasSubstr("Added to the logit"));
  const auto all = sluice(workspace, {"--help-all"});
  EXPECT_EQ(all.code, 0);
  EXPECT_THAT(all.out, AllOf(HasSubstr("== sluice reward test"), HasSubstr("== sluice learner")));
}

TEST(Help, OfAKeySaysWhatItIsAndWhenToChangeIt) {
  const Workspace workspace;
  const auto lr = sluice(workspace, {"help", "optim.lr"});
  EXPECT_EQ(lr.code, 0) << lr.err;
  EXPECT_THAT(lr.out, AllOf(StartsWith("optim.lr\n"), HasSubstr("Learning rate after warm-up."),
                            HasSubstr("1e-06"), HasSubstr("0 to 10"), HasSubstr("sft 2e-05"),
                            HasSubstr("change it   a third of it when kl")));
  EXPECT_EQ(sluice(workspace, {"help", "grpo.optim.lr"}).out, lr.out);
  EXPECT_EQ(sluice(workspace, {"help", "lr"}).out, lr.out);
  EXPECT_THAT(sluice(workspace, {"help", "rollout.max_new_tokens"}).out, HasSubstr("integer, in tokens"));
  EXPECT_THAT(sluice(workspace, {"help", "algorithm.mix_alpha"}).out,
              HasSubstr("algorithm.mix_every above 0"));
  const auto both = sluice(workspace, {"help", "beta"});  // of two tables
  EXPECT_THAT(both.out, AllOf(HasSubstr("algorithm.beta\n"), HasSubstr("preference.beta\n")));
}

TEST(Help, OfATableAStageARewardAndACommand) {
  const Workspace workspace;
  EXPECT_THAT(sluice(workspace, {"help", "optim"}).out,
              AllOf(StartsWith("[optim]"), HasSubstr("  warmup_steps")));
  EXPECT_THAT(sluice(workspace, {"help", "dapo"}).out, HasSubstr("algorithm.clip_high = 0.28"));
  EXPECT_THAT(sluice(workspace, {"help", "gsm8k"}).out, HasSubstr("sluice reward explain gsm8k"));
  EXPECT_EQ(sluice(workspace, {"help", "reward", "test"}).out,
            sluice(workspace, {"reward", "test", "--help"}).out);
}

TEST(Help, KnowsWhatWasMeant) {
  const Workspace workspace;
  const auto typo = sluice(workspace, {"help", "optim.lrr"});
  EXPECT_EQ(typo.code, 2);
  EXPECT_THAT(typo.err, HasSubstr("\"optim.lrr\"; did you mean \"optim.lr\"?"));
  EXPECT_THAT(sluice(workspace, {"help", "zzzzzzzzzz"}).err, HasSubstr("`sluice --help` lists commands"));
}

TEST(Help, OfAMisspeltOptionOrSubcommandIsTheNearestOne) {
  const Workspace workspace;
  const auto option = sluice(workspace, {"run", "recipe.toml", "--resum"});
  EXPECT_EQ(option.code, 2);
  EXPECT_EQ(option.err,
            "sluice run: \"--resum\" is not expected; did you mean \"--resume\"? `sluice run --help` says "
            "what it takes\n");
  const auto sub = sluice(workspace, {"reward", "tset"});
  EXPECT_EQ(sub.code, 2);
  EXPECT_THAT(sub.err, HasSubstr("sluice reward: \"tset\" is not expected; did you mean \"test\"?"));
  EXPECT_THAT(sluice(workspace, {"check", "recipe.toml", "--zzzzzzz"}).err,
              HasSubstr("is not expected; `sluice check --help`"));
}

TEST(Help, IsAManualPageToo) {
  const Workspace workspace;
  const auto page = sluice(workspace, {"help", "--man"});
  EXPECT_EQ(page.code, 0);
  EXPECT_THAT(page.out, AllOf(StartsWith(".TH SLUICE 1"), HasSubstr(".SS \"sluice reward test\""),
                              HasSubstr("\\-\\-profile"), HasSubstr(".SH EXIT STATUS")));
}

}  // namespace
}  // namespace sluice::app
