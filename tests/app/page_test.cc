// The page of a run in a browser: a run that goes on by `sluice run`, one that has ended by `sluice top
// --web`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <regex>

#include "base/files.h"
#include "tests/app/browser.h"
#include "tests/app/sluice_process.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kHostile =
    "</pre></td><img src=x onerror='pwned=1'><script>pwned=1</script>\x1b[31m\x1b]0;x\x07\u202e \"'&\xff";

std::string page_url(const std::string& out) {
  std::smatch match;
  std::regex_search(out, match, std::regex("page: (http://127\\.0\\.0\\.1:[0-9]+/)\n"));
  return match.empty() ? "" : match[1].str();
}

// A line more for a file of JSON lines, its bytes as they are.
void append_line(const fs::path& file, const Json& line) {
  std::ofstream(file, std::ios::app) << line.dump(-1, ' ', false, Json::error_handler_t::ignore) << '\n';
}

struct OpenCopy : RunCopy {
  using RunCopy::RunCopy;
  const Workspace& workspace() const { return workspace_; }
};

// `sluice top RUN --web` and a browser that has its page.
class Watched {
 public:
  explicit Watched(const Workspace& workspace)
      : top_(workspace, {"top", "runs/tiny", "--web"}), browser_(workspace / "") {
    EXPECT_TRUE(top_.wait_until([&] { return !page_url(top_.out()).empty(); })) << top_.err();
    url_ = page_url(top_.out());
    browser_.open(url_);
    EXPECT_TRUE(browser_.comes_true("document.querySelector('#rollout-said').textContent"));
  }

  Browser& page() { return browser_; }
  const std::string& url() const { return url_; }
  std::string text(const std::string& selector) {
    return browser_.evaluate("document.querySelector(" + Json(selector).dump() + ").textContent");
  }
  int end() {
    top_.process().signal(SIGINT);
    return top_.exit_code();
  }

 private:
  Sluice top_;
  Browser browser_;
  std::string url_;
};

class FinishedRunsPage : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (!Browser::is_there()) return;
    workspace_ = new Workspace;
    const auto run = sluice(*workspace_, {"run", "recipe.toml", "sft.steps=3", "grpo.steps=12"});
    ASSERT_EQ(run.code, 0) << run.out << run.err;
  }
  static void TearDownTestSuite() { delete workspace_; }
  void SetUp() override {
    if (!Browser::is_there()) GTEST_SKIP() << "needs Chromium";
  }
  static Workspace* workspace_;
};
Workspace* FinishedRunsPage::workspace_ = nullptr;

TEST_F(FinishedRunsPage, SaysWhatTheStatusSays) {
  Watched watched(*workspace_);
  auto& page = watched.page();
  const Json status = page.evaluate("fetch('/api/status').then(answer => answer.json())");
  const Json last = status.at("last");
  EXPECT_EQ(last, workspace_->metrics().back());
  EXPECT_EQ(status.at("state"), "finished");
  EXPECT_EQ(watched.text("#name"), "tiny");
  EXPECT_THAT(watched.text("#where"), HasSubstr("grpo, step 12 of 12"));
  EXPECT_EQ(watched.text("#left"), "finished");
  EXPECT_EQ(watched.text("#link"), "");
  const auto count = [&](const char* name) { return std::to_string(last.at(name).get<int64_t>()); };
  EXPECT_EQ(watched.text("#law"), "issued " + count("law/issued") + " = trained " + count("law/trained") +
                                      " + queued " + count("law/queued") + " + leased " +
                                      count("law/leased") + " + dropped " + count("law/dropped") +
                                      " + quarantined " + count("law/quarantined") + ", the law holds");
  // Every curve ends at the last step's value.
  const Json shown = page.evaluate(
      "[...document.querySelectorAll('#curve-list figure')].map(figure => [figure.dataset.metric, "
      "figure.querySelector('figcaption span').textContent])");
  ASSERT_GE(shown.size(), 8u);
  for (const auto& curve : shown) {
    const std::string metric = curve.at(0);
    EXPECT_EQ(curve.at(1), page.evaluate("short(" + last.at(metric).dump() + ")")) << metric;
  }
  EXPECT_THAT(watched.text("#recipe-text"), HasSubstr("\"real_words\""));
  EXPECT_THAT(page.complaints(), IsEmpty());
  EXPECT_EQ(watched.end(), 0);
}

TEST_F(FinishedRunsPage, TakesTheKeyboard) {
  Watched watched(*workspace_);
  auto& page = watched.page();
  Json reached = Json::array();
  for (int i = 0; i < 80; ++i) {
    page.press("Tab");
    const Json at = page.evaluate(
        "document.activeElement.id || document.activeElement.getAttribute('href') || "
        "document.activeElement.tagName");
    if (std::ranges::count(reached, at) == 0) reached.push_back(at);
  }
  for (const char* part : {"#curves", "curve-stage", "more-metrics", "svg", "rollout-step", "rollout-search",
                           "rollout-before", "SUMMARY"})
    EXPECT_EQ(std::ranges::count(reached, Json(part)), 1) << part << " in " << reached;
  // Along a curve, step by step.
  page.evaluate("document.querySelector('figure[data-metric=reward] svg').focus()");
  page.press("ArrowLeft");
  const auto reward = workspace_->metrics().at(workspace_->metrics().size() - 2).at("reward");
  EXPECT_EQ(watched.text("figure[data-metric=reward] figcaption span"),
            "step 14: " + page.evaluate("short(" + reward.dump() + ")").get<std::string>());
  page.press("Home");
  EXPECT_THAT(watched.text("figure[data-metric=reward] figcaption span"), HasSubstr("step 4: "));
  // A search is typed and entered.
  page.evaluate("document.querySelector('#rollout-search').focus()");
  for (const char* key : {"z", "q", "x", "j"}) page.press(key);
  page.press("Enter");
  EXPECT_TRUE(page.comes_true("document.querySelector('#rollout-said').textContent.includes('0 groups')"));
  EXPECT_THAT(page.complaints(), IsEmpty());
}

TEST_F(FinishedRunsPage, FitsATelephoneAndCanBeReadInLightAndDark) {
  Watched watched(*workspace_);
  auto& page = watched.page();
  page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
  for (const int width : {320, 390, 768}) {
    page.resize(width, 740, width < 700);
    EXPECT_LE(page.evaluate("document.documentElement.scrollWidth").get<int>(), width);
  }
  // The ratio of luminances of every colour of text on what it stands on, as WCAG 2 defines it: 4.5 or more.
  constexpr const char* kContrasts = R"(['text', 'faint', 'good', 'bad', 'curve'].flatMap(text =>
      ['back', 'box'].map(ground => {
        const light = name => {
          const hex = getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();
          const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16) / 255)
              .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const [a, b] = [light(text), light(ground)];
        return [text + ' on ' + ground, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
      })))";
  Json grounds = Json::array();
  for (const bool dark : {false, true}) {
    page.prefer_dark(dark);
    grounds.push_back(page.evaluate("getComputedStyle(document.body).backgroundColor"));
    for (const auto& one : page.evaluate(kContrasts))
      EXPECT_GE(one.at(1).get<double>(), 4.5) << one.at(0) << (dark ? ", dark" : ", light");
  }
  EXPECT_NE(grounds.at(0), grounds.at(1));
  EXPECT_THAT(page.complaints(), IsEmpty());
}

// Whatever a run's texts say, they are text: on the page and in the report.
TEST_F(FinishedRunsPage, NothingThatARunSaysIsObeyed) {
  const OpenCopy copy(*workspace_);
  const Json alarm = {{"rule", kHostile}, {"since", 1}, {"sentence", kHostile}, {"suggestion", kHostile}};
  Json line = workspace_->metrics().back();
  line["step"] = line.at("step").get<int64_t>() + 1;
  line["stage"] = kHostile;
  line["note"] = kHostile;
  line["alarms"] = {alarm};
  line[std::string("rewards/") + kHostile + "/mean"] = 1;
  append_line(copy / "metrics.jsonl", line);
  const Json completion = {
      {"text", std::string(10 << 20, 'x') + kHostile}, {"reward", 1}, {"advantage", 0}, {"tokens", 3}};
  Json small = completion;
  small["text"] = kHostile;
  append_line(copy / "rollouts/step_000015.jsonl", {{"group", 1},
                                                    {"prompt", kHostile},
                                                    {"actor", kHostile},
                                                    {"version", 1},
                                                    {"completions", {small, completion}}});
  write_plain(copy / "pulse/actor-0", std::string(16, '\0') + kHostile);

  for (const std::vector<std::string>& command : {std::vector<std::string>{"top", "runs/tiny", "--once"},
                                                  {"doctor", "runs/tiny"},
                                                  {"rollouts", "runs/tiny", "--all"},
                                                  {"compare", "runs/tiny"}}) {
    const auto shown = sluice(copy.workspace(), command);
    EXPECT_FALSE(shown.out.empty()) << command.front() << shown.err;
    EXPECT_THAT(shown.out + shown.err, AllOf(Not(HasSubstr("\x1b")), Not(HasSubstr("\u202e"))));
    EXPECT_LT(shown.out.size(), size_t{1} << 20) << command.front();
  }

  Watched watched(copy.workspace());
  auto& page = watched.page();
  page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
  EXPECT_TRUE(page.comes_true("document.body.textContent.includes(\"<img src=x onerror='pwned=1'>\")"));
  const auto inert = [&] {
    EXPECT_EQ(page.evaluate("typeof pwned"), "undefined");
    EXPECT_EQ(page.evaluate("document.querySelectorAll('img, script:not([nonce])').length"), 0);
    EXPECT_THAT(page.complaints(), IsEmpty());
  };
  inert();
  EXPECT_LT(page.evaluate("document.body.textContent.length").get<int>(), 1 << 20);
  page.evaluate("document.querySelector('#rollout-search').value = '<script>'");
  page.evaluate("document.querySelector('#rollout-form button').click()");
  EXPECT_TRUE(page.comes_true("document.querySelector('#rollout-said').textContent.includes('1 groups')"));
  inert();
}

// A run that goes on: the page follows it by itself.
TEST(LiveRunsPage, FollowsTheRun) {
  if (!Browser::is_there()) GTEST_SKIP() << "needs Chromium";
  const Workspace workspace;
  Sluice run(workspace, {"run", "recipe.toml", "sft.steps=1", "grpo.steps=100000", "monitor.redis=off"});
  ASSERT_TRUE(run.wait_for_step("grpo", 3)) << run.err();
  Browser page(workspace / "");
  page.open(page_url(run.out()));
  const auto step = [&] {
    return page.evaluate("Number(/step ([0-9]+)/.exec(document.querySelector('#where').textContent)[1])")
        .get<int>();
  };
  ASSERT_TRUE(page.comes_true("document.querySelector('#law.good')"));
  const int seen = step();
  EXPECT_GE(seen, 3);
  EXPECT_TRUE(page.comes_true("/step ([0-9]+)/.exec(document.querySelector('#where').textContent)[1] > " +
                              std::to_string(seen + 2)));
  EXPECT_EQ(page.evaluate("document.querySelector('#link').textContent"), "live");
  EXPECT_THAT(page.evaluate("document.querySelector('#doing').textContent").get<std::string>(),
              AllOf(HasSubstr("learner-0"), HasSubstr("actor-1")));
  EXPECT_THAT(page.complaints(), IsEmpty());
  run.process().signal(SIGTERM);
  EXPECT_EQ(run.exit_code(), 143);
  // It has gone, and says so.
  EXPECT_TRUE(page.comes_true("document.querySelector('#link').textContent.includes('does not answer')"));
}

}  // namespace
}  // namespace sluice::app
