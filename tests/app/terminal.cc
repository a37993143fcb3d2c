#include "tests/app/terminal.h"

#include <algorithm>
#include <sstream>

#include "base/error.h"
#include "base/files.h"

namespace sluice::app {

namespace fs = std::filesystem;

bool Terminal::is_there() {
  try {
    return run_captured({.command = {"tmux", "-V"}}, {}).status.has_value();
  } catch (const Error&) {
    return false;
  }
}

Terminal::Terminal(const Workspace& workspace, size_t columns, size_t rows, const std::string& name)
    : socket_(workspace / name) {
  write_plain(workspace / "bashrc",
              "PS1='$ '\nunset HISTFILE\nexport PATH=" + fs::path(SLUICE_BINARY).parent_path().string() +
                  ":$PATH LC_ALL=C.UTF-8\ncd " + (workspace / "").string() + "\n");
  tmux({"-u", "new-session", "-d", "-x", std::to_string(columns), "-y", std::to_string(rows),
        "bash --noprofile --rcfile " + (workspace / "bashrc").string()});
  tmux({"set-option", "-g", "history-limit", "20000"});
}

Terminal::~Terminal() { tmux({"kill-server"}); }

void Terminal::type(const std::string& line) const {
  tmux({"send-keys", "-l", line});
  tmux({"send-keys", "Enter"});
}

void Terminal::key(const std::string& name) const { tmux({"send-keys", name}); }

std::vector<std::string> Terminal::lines() const {
  std::istringstream in(tmux({"capture-pane", "-p", "-J", "-S", "-"}).output);
  std::vector<std::string> all;
  for (std::string line; std::getline(in, line);) all.push_back(line);
  return all;
}

std::string Terminal::all() const {
  std::string text;
  for (const auto& line : lines()) text += line + "\n";
  return text;
}

std::string Terminal::screen() const { return tmux({"capture-pane", "-p", "-e"}).output; }

bool Terminal::is_at_prompt() const {
  const auto all = lines();
  const auto last = std::find_if(all.rbegin(), all.rend(), [](const auto& line) { return !line.empty(); });
  return last != all.rend() && (*last == "$" || *last == "$ ");
}

CapturedRun Terminal::tmux(std::vector<std::string> arguments) const {
  std::vector<std::string> command = {"tmux", "-f", "/dev/null", "-S", socket_.string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return run_captured({.command = command, .environment = {{"TERM", "screen"}, {"TMUX", ""}}}, {});
}

bool comes_true(const std::function<bool()>& condition) {
  const SteadyClock clock;
  for (const Millis until = clock.now_ms() + 2 * kLongMs; clock.now_ms() < until;) {
    if (condition()) return true;
    run_captured({.command = {"sleep", "0.2"}}, {});
  }
  return false;
}

std::string terminal_html(const std::string& screen) {
  std::string out =
      "<!doctype html><meta charset=\"utf-8\"><style>body{margin:0;background:#14171b;color:#e4e8ec}"
      "pre{margin:0;padding:14px 16px;display:inline-block;font:14px/1.25 'DejaVu Sans Mono',monospace}"
      ".bold{font-weight:bold;color:#fff}.dim{color:#a0a8b2}.red{color:#ff8a7a}.green{color:#4cc38a}"
      "</style><pre><span>";
  std::string weight, colour;  // classes
  for (size_t i = 0; i < screen.size(); ++i) {
    if (screen[i] == '\x1b' && i + 1 < screen.size() && screen[i + 1] == '[') {
      const auto end = screen.find('m', i);
      std::istringstream codes(screen.substr(i + 2, end - i - 2));
      for (std::string code; std::getline(codes, code, ';');) {
        if (code == "0") weight = colour = "";
        if (code == "1") weight = "bold";
        if (code == "2") weight = "dim";
        if (code == "31") colour = "red";
        if (code == "32") colour = "green";
        if (code == "39") colour = "";
      }
      out += "</span><span class=\"" + weight + " " + colour + "\">";
      i = end;
    } else if (screen[i] == '<') {
      out += "&lt;";
    } else if (screen[i] == '&') {
      out += "&amp;";
    } else {
      out += screen[i];
    }
  }
  return out + "</span></pre>";
}

}  // namespace sluice::app
