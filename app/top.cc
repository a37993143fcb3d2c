// A run on one screen, drawn again twice a second, or on its page in a browser.
#include <fcntl.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>

#include "app/command.h"
#include "app/top_screen.h"
#include "base/error.h"
#include "base/signals.h"
#include "base/terminal.h"
#include "base/terminal_text.h"
#include "recipes/run_page.h"

namespace sluice::app {
namespace {

constexpr int kRedrawMs = 400;

struct Arguments {
  std::string run;
  bool once = false, json = false, web = false;
  int port = 0;
};

bool has_blocks() {
  for (const char* variable : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(variable);
    if (value == nullptr || *value == '\0') continue;
    const std::string_view locale = value;
    return locale.find("UTF-8") != std::string_view::npos || locale.find("utf8") != std::string_view::npos;
  }
  return false;
}

TopStyle style_here() {
  const auto size = terminal_size(STDOUT_FILENO);
  return {.columns = std::max<size_t>(size.columns, 10),
          .rows = std::max<size_t>(size.rows, 4),
          .colour = use_colour(STDOUT_FILENO),
          .blocks = has_blocks()};
}

// The screen that a terminal keeps beside its scrolled text, and keys that are read as they are pressed; what
// was there before is there again when this ends.
class AlternateScreen {
 public:
  AlternateScreen() : has_keys_(::tcgetattr(STDIN_FILENO, &before_) == 0) {
    if (has_keys_) {
      termios keys = before_;
      keys.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
      ::tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    }
    std::cout << "\x1b[?1049h\x1b[?25l\x1b[2J" << std::flush;
  }
  ~AlternateScreen() {
    std::cout << "\x1b[?25h\x1b[?1049l" << std::flush;
    if (has_keys_) ::tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  AlternateScreen(const AlternateScreen&) = delete;

  void draw(const std::vector<std::string>& lines) const {
    std::string frame = "\x1b[H";
    for (size_t i = 0; i < lines.size(); ++i) frame += (i > 0 ? "\r\n" : "") + lines[i] + "\x1b[K";
    std::cout << frame + "\x1b[J" << std::flush;
  }
  bool has_keys() const { return has_keys_; }

 private:
  termios before_{};
  const bool has_keys_;
};

// True when the person is done.
bool wait_for_key(const AlternateScreen& screen, StopSignals& signals) {
  pollfd waits[] = {{signals.fd(), POLLIN, 0}, {screen.has_keys() ? STDIN_FILENO : -1, POLLIN, 0}};
  ::poll(waits, 2, kRedrawMs);
  if (signals.received() != 0) return true;
  char key = 0;
  return (waits[1].revents & POLLIN) != 0 && (::read(STDIN_FILENO, &key, 1) != 1 || key == 'q');
}

int watch(recipes::RunView& view) {
  StopSignals signals;
  const AlternateScreen screen;
  do {
    auto style = style_here();
    const size_t rows = style.rows;
    style.rows = rows - 1;
    view.refresh();
    auto lines = top_lines(view, style);
    lines.resize(rows - 1);
    lines.push_back("q quits; sluice rollouts, sluice doctor and sluice compare say more");
    lines.back().resize(std::min(lines.back().size(), style.columns));
    screen.draw(lines);
  } while (!wait_for_key(screen, signals));
  return 0;
}

// The page that a run serves while it goes on, of any run: here it is this process that reads its files. Its
// recipe may say that others reach the page; that was meant for the run's own time.
int serve(const recipes::RunDirectory& run, int port) {
  StopSignals signals;
  std::string url, why;
  const auto page = recipes::ServedPage::start(run, {.port = port}, url, why);
  require<EnvironmentError>(page != nullptr, why);
  std::cout << "page: " << url << "\nCtrl-C ends it" << std::endl;
  pollfd wait{signals.fd(), POLLIN, 0};
  while (signals.received() == 0) ::poll(&wait, 1, -1);
  return 0;
}

}  // namespace

Command add_top(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  app.add_option("run", arguments->run, "A run directory, alive, stopped or finished")->required();
  app.add_flag("--once", arguments->once, "Print it once; so it is without a terminal, too");
  app.add_flag("--json", arguments->json, "Print it once, as JSON");
  app.add_flag("--web", arguments->web, "Serve its page to this machine's browsers until Ctrl-C");
  app.add_option("--port", arguments->port, "Of the page (default: any that is free)")
      ->check(CLI::Range(1, 65535))
      ->needs("--web");
  return [arguments] {
    const recipes::RunDirectory run(arguments->run);
    if (arguments->web) return serve(run, arguments->port);
    recipes::RunView view(run);
    if (arguments->json) {
      std::cout << recipes::to_json(view).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
    } else if (arguments->once || !is_interactive(STDOUT_FILENO)) {
      for (const auto& line : top_lines(view, style_here())) std::cout << line << '\n';
    } else {
      return watch(view);
    }
    return 0;
  };
}

}  // namespace sluice::app
