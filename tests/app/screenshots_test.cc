// The pictures of docs/images, taken of a run as a person would watch it. `make screenshots` writes them
// there, of a longer run; otherwise they are taken and thrown away.
#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <memory>

#include "base/files.h"
#include "tests/app/browser.h"
#include "tests/app/sluice_process.h"
#include "tests/app/terminal.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFolderVariable = "SLUICE_SCREENSHOTS";

class Screenshots : public testing::Test {
 protected:
  void SetUp() override {
    if (!Browser::is_there() || !Terminal::is_there()) GTEST_SKIP() << "needs Chromium and tmux";
    if (const char* folder = std::getenv(kFolderVariable)) folder_ = folder;
  }

  bool of_docs() const { return folder_ != workspace_ / ""; }

  // A run that learns and goes on when this returns: that of `make demo`, or a short one.
  std::unique_ptr<Sluice> start_run() {
    std::vector<std::string> line{"run", "recipe.toml", "--name", "demo"};
    if (of_docs()) line[1] = fs::path(SLUICE_SOURCE_DIR) / "recipes" / "shakespeare_words.toml";
    if (!of_docs()) line.insert(line.end(), {"sft.steps=4", "grpo.steps=400"});
    auto run = std::make_unique<Sluice>(workspace_, line);
    const int64_t step = of_docs() ? 30 : 4;
    EXPECT_TRUE(comes_true_within(30, [&] { return run->wait_for_step("grpo", step, "demo"); }))
        << run->err();
    return run;
  }
  static bool comes_true_within(int minutes, const std::function<bool()>& condition) {
    for (int i = 0; i < minutes; ++i)
      if (condition()) return true;
    return false;
  }

  // What stands on a terminal, as a picture of just that.
  void picture(Browser& browser, const Terminal& terminal, const std::string& name) {
    const auto page = workspace_ / (name + ".html");
    write_plain(page, terminal_html(terminal.screen()));
    browser.open("file://" + page.string());
    const Json size = browser.evaluate(
        "(({width, height}) => [width, height])(document.querySelector('pre').getBoundingClientRect())");
    browser.resize(size.at(0).get<int>(), size.at(1).get<int>());
    browser.screenshot(folder_ / (name + ".png"));
  }
  void type(const Terminal& terminal, const std::string& line, const std::string& awaited) {
    terminal.type("clear; " + line);
    EXPECT_TRUE(comes_true([&] { return terminal.all().find(awaited) != std::string::npos; }))
        << terminal.all();
  }

  const Workspace workspace_;
  fs::path folder_ = workspace_ / "";
};

TEST_F(Screenshots, PageReportAndTerminal) {
  auto run = start_run();
  Browser browser(workspace_ / "");
  browser.resize(1200, 1100);
  browser.open(read_json(workspace_.run("demo") / "run.json").at("web").at("url"));
  ASSERT_TRUE(browser.comes_true("document.querySelector('#law.good') && document.querySelector('.group')"));
  browser.screenshot(folder_ / "run_page.png");
  browser.evaluate("document.querySelector('#rollout-list details').open = true");
  browser.evaluate("document.querySelector('#rollouts').scrollIntoView()");
  browser.resize(390, 780, /*telephone=*/true);
  browser.prefer_dark(true);
  browser.evaluate("document.querySelector('#rollouts').scrollIntoView()");
  browser.screenshot(folder_ / "run_page_telephone.png");
  browser.prefer_dark(false);

  const Terminal terminal(workspace_, 124, 22);
  type(terminal, "sluice top runs/demo", "q quits");
  picture(browser, terminal, "top");
  terminal.key("q");
  type(terminal, "sluice rollouts runs/demo", "more groups");
  picture(browser, terminal, "rollouts");

  if (!of_docs()) run->process().signal(SIGTERM);
  EXPECT_TRUE(comes_true_within(10, [&] { return run->exit_code() >= 0; }));
  browser.resize(1000, 1150);
  browser.open("file://" + (workspace_.run("demo") / "report.html").string());
  browser.screenshot(folder_ / "report.png");
  EXPECT_TRUE(browser.complaints().empty()) << browser.complaints().front();
}

}  // namespace
}  // namespace sluice::app
