// docs/first_minutes.md, typed into a terminal: what the page shows is what a newcomer sees.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <regex>
#include <sstream>

#include "base/captured_run.h"
#include "base/error.h"
#include "base/files.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

// A terminal of 100 x 30 with a shell in it, whose scrolled text can be read.
class Terminal {
 public:
  explicit Terminal(const Workspace& workspace) : socket_(workspace / "tmux") {
    write_plain(workspace / "bashrc",
                "PS1='$ '\nunset HISTFILE\nexport PATH=" + fs::path(SLUICE_BINARY).parent_path().string() +
                    ":$PATH LC_ALL=C.UTF-8\ncd " + (workspace / "").string() + "\n");
    tmux({"new-session", "-d", "-x", "100", "-y", "30",
          "bash --noprofile --rcfile " + (workspace / "bashrc").string()});
    tmux({"set-option", "-g", "history-limit", "20000"});
  }
  ~Terminal() { tmux({"kill-server"}); }
  Terminal(const Terminal&) = delete;

  void type(const std::string& line) {
    tmux({"send-keys", "-l", line});
    tmux({"send-keys", "Enter"});
  }
  void key(const std::string& name) { tmux({"send-keys", name}); }
  std::vector<std::string> lines() const {
    std::istringstream in(tmux({"capture-pane", "-p", "-J", "-S", "-"}).output);
    std::vector<std::string> all;
    for (std::string line; std::getline(in, line);) all.push_back(line);
    return all;
  }

  static bool is_there() {
    try {
      return run_captured({.command = {"tmux", "-V"}}, {}).status.has_value();
    } catch (const Error&) {
      return false;
    }
  }

 private:
  CapturedRun tmux(std::vector<std::string> arguments) const {
    std::vector<std::string> command = {"tmux", "-f", "/dev/null", "-S", socket_.string()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return run_captured({.command = command, .environment = {{"TERM", "screen"}, {"TMUX", ""}}}, {});
  }

  const fs::path socket_;
};

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

// Asks until it holds; a run is waited for, so that is two minutes.
bool comes_true(const std::function<bool()>& condition) {
  const SteadyClock clock;
  for (const Millis until = clock.now_ms() + 2 * kLongMs; clock.now_ms() < until;) {
    if (condition()) return true;
    run_captured({.command = {"sleep", "0.2"}}, {});
  }
  return false;
}

// The shell waits for a line.
bool is_at_prompt(const Terminal& terminal) {
  const auto lines = terminal.lines();
  const auto last =
      std::find_if(lines.rbegin(), lines.rend(), [](const auto& line) { return !line.empty(); });
  return last != lines.rend() && (*last == "$" || *last == "$ ");
}

std::string all_of(const Terminal& terminal) {
  std::string screen;
  for (const auto& line : terminal.lines()) screen += line + "\n";
  return screen;
}

TEST(FirstMinutes, AreAsThePageShowsThem) {
  if (!Terminal::is_there()) GTEST_SKIP() << "needs tmux";
  const Workspace workspace;
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
      ASSERT_TRUE(comes_true([&] { return is_at_prompt(terminal); })) << expected << "\n" << all_of(terminal);
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
        << all_of(terminal);
  }
}

// The whole screen while a run goes on, and what was there before when it is left.
TEST(FirstMinutes, TopLeavesTheTerminalAsItWas) {
  if (!Terminal::is_there()) GTEST_SKIP() << "needs tmux";
  const Workspace workspace;
  ASSERT_EQ(sluice(workspace, {"run", "recipe.toml", "sft.steps=2", "grpo.steps=2"}).code, 0);
  const auto holds = [](const Terminal& terminal, const std::string& text) {
    return comes_true([&] { return all_of(terminal).find(text) != std::string::npos; });
  };
  Terminal terminal(workspace);
  for (const std::string key : {"q", "C-c"}) {
    terminal.type("sluice top runs/tiny");
    ASSERT_TRUE(holds(terminal, "tiny  finished")) << key;
    ASSERT_TRUE(holds(terminal, "q quits"));
    terminal.key(key);
    ASSERT_TRUE(comes_true([&] { return is_at_prompt(terminal); })) << all_of(terminal);
    EXPECT_EQ(all_of(terminal).find("tiny  finished"), std::string::npos) << all_of(terminal);
    terminal.type("stty -a | grep -q ' icanon.* echo '; echo behind " + key + " $?");
    ASSERT_TRUE(holds(terminal, "behind " + key + " 0")) << all_of(terminal);
  }
}

}  // namespace
}  // namespace sluice::app
