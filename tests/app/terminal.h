// A terminal with a shell in it (tmux), for what a person types and sees.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/captured_run.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {

// Its shell is in the workspace's folder, with `sluice` on the path; its scrolled text can be read.
class Terminal {
 public:
  // Whether this machine has tmux.
  static bool is_there();

  explicit Terminal(const Workspace& workspace, size_t columns = 100, size_t rows = 30,
                    const std::string& name = "tmux");  // of its socket
  ~Terminal();
  Terminal(const Terminal&) = delete;

  void type(const std::string& line) const;
  void key(const std::string& name) const;  // as tmux names it: "C-c"
  // All lines, those that were scrolled away too.
  std::vector<std::string> lines() const;
  std::string all() const;
  // What is on the screen, with the sequences that colour it.
  std::string screen() const;
  // The shell waits for a line.
  bool is_at_prompt() const;

 private:
  CapturedRun tmux(std::vector<std::string> arguments) const;

  const std::filesystem::path socket_;
};

// Asks until it holds; a run is waited for, so that is two minutes.
bool comes_true(const std::function<bool()>& condition);

// A screen as a page: colours, bold and faint are kept.
std::string terminal_html(const std::string& screen);

}  // namespace sluice::app
