// `sluice completion SHELL`, read by the shell that it is for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "base/captured_run.h"
#include "base/error.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  return lines;
}

bool has_shell(const std::string& shell) {
  try {
    return run_captured({.command = {shell, "-c", "true"}}, {}).status.has_value();
  } catch (const Error&) {
    return false;
  }
}

// What a shell says in the workspace to a program of its own.
std::vector<std::string> in_shell(const Workspace& workspace, const std::vector<std::string>& shell,
                                  const std::string& program) {
  auto command = shell;
  command.push_back("-c");
  command.push_back(program);
  const auto run =
      run_captured({.command = command,
                    .environment = {{"PATH", std::filesystem::path(SLUICE_BINARY).parent_path().string() +
                                                 ":/usr/bin:/bin"}},
                    .working_directory = workspace / ""},
                   {});
  EXPECT_EQ(run.errors, "");
  return lines_of(run.output);
}

// The words that bash offers for the last one of the line.
std::vector<std::string> bash_offers(const Workspace& workspace, const std::string& words, int at) {
  return in_shell(workspace, {"bash", "--norc"},
                  "source <(sluice completion bash); COMP_WORDS=(" + words + "); COMP_CWORD=" +
                      std::to_string(at) + "; _sluice; printf '%s\\n' \"${COMPREPLY[@]}\"");
}

TEST(Completion, BashFinishesCommandsOptionsKeysAndRecipes) {
  const Workspace workspace;
  EXPECT_THAT(bash_offers(workspace, "sluice ru", 1), ElementsAre("run"));
  EXPECT_THAT(bash_offers(workspace, "sluice reward ''", 2),
              IsSupersetOf({"list", "explain", "test", "init"}));
  EXPECT_THAT(bash_offers(workspace, "sluice run --re", 2), ElementsAre("--resume"));
  EXPECT_THAT(bash_offers(workspace, "sluice reward test --prof", 3), ElementsAre("--profile"));
  EXPECT_THAT(bash_offers(workspace, "sluice run rec", 2), ElementsAre("recipe.toml"));
  EXPECT_THAT(bash_offers(workspace, "sluice run recipe.toml optim.l", 3), ElementsAre("optim.lr="));
  EXPECT_THAT(bash_offers(workspace, "sluice run recipe.toml --name first rollout.group", 5),
              ElementsAre("rollout.group_size="));
  EXPECT_THAT(bash_offers(workspace, "sluice help optim.warm", 2), ElementsAre("optim.warmup_steps"));
  EXPECT_THAT(bash_offers(workspace, "sluice completion f", 2), ElementsAre("fish"));
  EXPECT_THAT(bash_offers(workspace, "sluice run corp", 2), IsEmpty());  // no recipe
  EXPECT_THAT(bash_offers(workspace, "sluice ''", 1), Not(Contains("--resume")));
}

TEST(Completion, FishFinishesCommandsOptionsAndKeys) {
  if (!has_shell("fish")) GTEST_SKIP() << "needs fish";
  const Workspace workspace;
  const auto offers = [&](const std::string& line) {
    return in_shell(workspace, {"fish", "--no-config"},
                    "sluice completion fish | source; complete -C '" + line + "' | string split -f1 \\t");
  };
  EXPECT_THAT(offers("sluice ru"), Contains("run"));
  EXPECT_THAT(offers("sluice reward "), IsSupersetOf({"list", "explain", "test", "init"}));
  EXPECT_THAT(offers("sluice run --re"), Contains("--resume"));
  EXPECT_THAT(offers("sluice run recipe.toml optim.l"), Contains("optim.lr="));
  EXPECT_THAT(offers("sluice reward test --prof"), ElementsAre("--profile"));
}

// zsh completes inside its line editor alone: that it reads the script, and what the function offers.
TEST(Completion, ZshReadsItsScript) {
  if (!has_shell("zsh")) GTEST_SKIP() << "needs zsh";
  const Workspace workspace;
  const auto offers = [&](const std::string& words, int at) {
    return in_shell(
        workspace, {"zsh", "-f"},
        "compdef() { }; compadd() { local w; for w in \"$@\"; do print -r -- $w; done }; "
        "_files() { print -r -- FILES }; source <(sluice completion zsh); typeset -a words; words=(" +
            words + "); CURRENT=" + std::to_string(at) + "; _sluice");
  };
  EXPECT_THAT(offers("sluice ru", 2), Contains("run"));
  EXPECT_THAT(offers("sluice reward ''", 3), IsSupersetOf({"list", "explain", "test", "init"}));
  EXPECT_THAT(offers("sluice run --re", 3), Contains("--resume"));
  EXPECT_THAT(offers("sluice run optim", 3), IsSupersetOf({"FILES", "optim.lr="}));
}

TEST(Completion, RefusesAShellItDoesNotKnow) {
  const Workspace workspace;
  EXPECT_EQ(sluice(workspace, {"completion", "tcsh"}).code, 2);
}

}  // namespace
}  // namespace sluice::app
