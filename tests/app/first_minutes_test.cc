// docs/first_minutes.md, typed into a terminal: what the page shows is what a newcomer sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <regex>

#include "base/terminal_text.h"
#include "tests/app/terminal.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

// Numbers are another machine's, with their units, and so are the blocks of a curve and the width of a gap.
std::string shape_of(const std::string& line) {
  static const std::regex kNumber("[0-9]+([.,][0-9]+)*(e[-+][0-9]+)?([kMG]|ms|s)?(?=[^A-Za-z0-9]|$)");
  static const std::regex kGap(" +");
  std::string shape = std::regex_replace(line, kNumber, "N");
  std::erase_if(shape, [](unsigned char c) { return c >= 0x80; });
  shape = std::regex_replace(shape, kGap, " ");
  while (shape.starts_with(' ')) shape.erase(0, 1);
  while (shape.ends_with(' ')) shape.pop_back();
  return shape;
}

// The lines of the page's code blocks that begin with a prompt.
std::vector<std::string> transcript() {
  std::ifstream in(fs::path(SLUICE_SOURCE_DIR) / "docs" / "first_minutes.md");
  std::vector<std::string> lines;
  bool shown = false;
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with("    ")) {
      shown = shown && line.empty();
      continue;
    }
    line.erase(0, 4);
    shown = shown || line.starts_with("$ ");
    if (shown) lines.push_back(line);
  }
  return lines;
}

TEST(FirstMinutes, AreAsThePageShowsThem) {
  if (!Terminal::is_there()) GTEST_SKIP() << "needs tmux";
  const Workspace workspace;
  for (const char* folder : {"recipes", "data"})  // as in a checkout
    fs::create_directory_symlink(fs::path(SLUICE_SOURCE_DIR) / folder, workspace / folder);
  Terminal terminal(workspace);
  const auto script = transcript();
  ASSERT_GT(script.size(), 40);
  size_t at = 0;  // of the screen's lines, those before are matched
  for (const auto& expected : script) {
    if (expected == "...") continue;
    if (expected == "^C") {
      terminal.key("C-c");
      continue;
    }
    if (expected.starts_with("$ ")) {
      ASSERT_TRUE(comes_true([&] { return terminal.is_at_prompt(); })) << expected << "\n" << terminal.all();
      terminal.type(expected.substr(2));
    }
    const auto shape = shape_of(expected);
    ASSERT_TRUE(comes_true([&] {
      const auto screen = terminal.lines();
      const auto found =
          std::find_if(screen.begin() + static_cast<std::ptrdiff_t>(std::min(at, screen.size())),
                       screen.end(), [&](const std::string& line) { return shape_of(line) == shape; });
      if (found == screen.end()) return false;
      at = static_cast<size_t>(found - screen.begin()) + 1;
      return true;
    })) << "the page has the line\n  "
        << expected << "\nand the terminal\n"
        << terminal.all();
  }
}

// The whole screen while a run goes on, and what was there before when it is left.
TEST(FirstMinutes, TopLeavesTheTerminalAsItWas) {
  if (!Terminal::is_there()) GTEST_SKIP() << "needs tmux";
  const Workspace workspace;
  ASSERT_EQ(sluice(workspace, {"run", "recipe.toml", "sft.steps=2", "grpo.steps=2"}).code, 0);
  const auto holds = [](const Terminal& terminal, const std::string& text) {
    return comes_true([&] { return terminal.all().find(text) != std::string::npos; });
  };
  Terminal terminal(workspace);
  for (const std::string key : {"q", "C-c"}) {
    terminal.type("sluice top runs/tiny");
    ASSERT_TRUE(holds(terminal, "tiny  finished")) << key;
    ASSERT_TRUE(holds(terminal, "q quits"));
    terminal.key(key);
    ASSERT_TRUE(comes_true([&] { return terminal.is_at_prompt(); })) << terminal.all();
    EXPECT_EQ(terminal.all().find("tiny  finished"), std::string::npos) << terminal.all();
    terminal.type("stty -a | grep -q ' icanon.* echo '; echo behind " + key + " $?");
    ASSERT_TRUE(holds(terminal, "behind " + key + " 0")) << terminal.all();
  }
}

// Colours and lines that move are for terminals that take them, and lines end where the screen does.
TEST(FirstMinutes, NoColorDumbNarrowAndPipe) {
  if (!Terminal::is_there()) GTEST_SKIP() << "needs tmux";
  const Workspace workspace;
  ASSERT_EQ(sluice(workspace, {"run", "recipe.toml", "sft.steps=2", "grpo.steps=3"}).code, 0);
  // The screen before has an end too, until it is cleared.
  auto screen_of = [commands = 0](const Terminal& terminal, const std::string& line) mutable {
    const std::string end = "done " + std::to_string(++commands);
    terminal.type("clear; " + line + "; echo " + end + " $?");
    EXPECT_TRUE(comes_true([&] { return terminal.all().find("\n" + end + " 0") != std::string::npos; }))
        << terminal.all();
    return terminal.screen();
  };
  const Terminal wide(workspace);
  const std::string colour = "\x1b[3";
  EXPECT_THAT(screen_of(wide, "sluice top runs/tiny --once"), testing::HasSubstr(colour));
  for (const std::string plain : {"NO_COLOR=1 sluice top runs/tiny --once", "TERM=dumb sluice top runs/tiny",
                                  "sluice top runs/tiny | cat", "NO_COLOR=1 sluice rollouts runs/tiny",
                                  "TERM=dumb sluice compare runs/tiny", "sluice rollouts runs/tiny | cat",
                                  "TERM=dumb sluice run recipe.toml --name dumb sft.steps=2 grpo.steps=2",
                                  "sluice run recipe.toml --name pipe sft.steps=2 grpo.steps=2 2>&1 | cat"})
    EXPECT_THAT(screen_of(wide, plain), testing::Not(testing::HasSubstr("\x1b["))) << plain;
  const Terminal narrow(workspace, 40, 12, "narrow");
  for (const std::string command : {"top runs/tiny --once", "rollouts runs/tiny"}) {
    screen_of(narrow, "sluice " + command);
    for (const auto& line : narrow.lines()) {
      if (!line.starts_with("$ ")) {  // what was typed
        EXPECT_LE(display_width(line), 40u) << command << "\n" << line;
      }
    }
  }
}

}  // namespace
}  // namespace sluice::app
