#include "recipes/run_page.h"

#include <gmock/gmock.h>

#include <cstdlib>
#include <fstream>

#include "base/files.h"
#include "monitor/jsonl_sink.h"
#include "tests/recipes/recipe_folder.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;
using monitor::HttpRequest;
using monitor::HttpResponse;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::StartsWith;

constexpr const char* kHostile = "<script>alert(1)</script>\x1b[31m\"'&\xff";

class RunPageTest : public testing::Test {
 protected:
  HttpResponse ask(RunPage& page, const std::string& path, std::map<std::string, std::string> query = {},
                   std::map<std::string, std::string> headers = {{"host", "127.0.0.1:99"}}) const {
    return page.answer({.path = path, .query = std::move(query), .headers = std::move(headers)});
  }
  Json json(const std::string& path, std::map<std::string, std::string> query = {}) {
    const auto response = ask(page_, path, std::move(query));
    EXPECT_EQ(response.status, 200) << response.body;
    EXPECT_THAT(response.type, StartsWith("application/json"));
    return parse_json(response.body, path);
  }
  void write_steps(int64_t first, int64_t last) {
    monitor::JsonlSink sink(run_.directory.metrics(), first - 1);
    for (int64_t step = first; step <= last; ++step) {
      sink.write({.stage = "grpo",
                  .step = step,
                  .stage_step = step,
                  .stage_steps = 4000,
                  .wall_time = 100.0 + static_cast<double>(step),
                  .metrics = {{"reward", 0.5}, {"law/issued", 8}}});
    }
  }
  void write_rollouts(int64_t step, const std::vector<Json>& groups) {
    std::ofstream out(run_.directory.rollouts(step));
    for (const auto& group : groups)
      out << group.dump(-1, ' ', false, Json::error_handler_t::replace) << '\n';
  }
  static Json group(int64_t number, const std::string& prompt, const std::string& text) {
    return {{"group", number},
            {"prompt", prompt},
            {"refill", 0},
            {"actor", "actor-0"},
            {"version", 1},
            {"completions",
             {{{"text", text}, {"reward", 1.0}, {"advantage", 0.5}, {"outcomes", {1.0}}, {"tokens", 3}}}}};
  }

  RecipeFolder folder_;
  const Recipe recipe_ = folder_.load(kGrpo, {"name=watched"});
  const OpenedRun run_ = open_run(folder_.path() / "runs", recipe_, false);
  RunPage page_{run_.directory};
};

TEST_F(RunPageTest, ThePageRunsItsOwnScriptAlone) {
  const auto one = ask(page_, "/"), two = ask(page_, "/");
  ASSERT_EQ(one.headers.at(0).first, "Content-Security-Policy");
  const std::string policy = one.headers.at(0).second;
  EXPECT_THAT(policy, AllOf(StartsWith("default-src 'none'; script-src 'nonce-"),
                            HasSubstr("connect-src 'self'"), Not(HasSubstr("unsafe"))));
  const auto nonce = policy.substr(policy.find("nonce-") + 6, 32);
  EXPECT_THAT(one.body, HasSubstr("<script nonce=\"" + nonce + "\">"));
  EXPECT_THAT(one.body, Not(HasSubstr("NONCE")));
  EXPECT_THAT(two.body, Not(HasSubstr(nonce)));
  // What the run says goes in as text, and nothing is fetched from elsewhere.
  for (const char* never : {"innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "https://",
                            "onclick", "style=\""})
    EXPECT_THAT(one.body, Not(HasSubstr(never)));
}

TEST_F(RunPageTest, ARunThatHasNotBegunHasAStatus) {
  const auto status = json("/api/status");
  EXPECT_EQ(status.at("run"), "watched");
  EXPECT_TRUE(status.at("last").is_null());
  EXPECT_EQ(status.at("stages").at(0).at("name"), "grpo");
  EXPECT_EQ(status.at("state"), "starting");  // the test holds its lock
  EXPECT_THAT(json("/api/steps").at("steps"), IsEmpty());
  EXPECT_THAT(json("/api/rollouts").at("steps"), IsEmpty());
  EXPECT_THAT(ask(page_, "/metrics").body, HasSubstr("sluice_run_info{run=\"watched\""));
}

TEST_F(RunPageTest, StatusIsWhatTheFilesSay) {
  write_steps(1, 3);
  write_file_atomically(
      run_.directory.state(),
      R"({"schema":1,"wall_time":7.5,"state":{"queue_depth":"12"},"actors":{"actor-0":{"tokens":"99"}}})");
  const auto status = json("/api/status");
  EXPECT_EQ(status.at("last").at("step"), 3);
  EXPECT_EQ(status.at("last").at("reward"), 0.5);
  EXPECT_EQ(status.at("live").at("wall_time"), 7.5);
  EXPECT_EQ(status.at("live").at("state").at("queue_depth"), "12");
  EXPECT_EQ(status.at("live").at("actors").at("actor-0").at("tokens"), "99");
  EXPECT_THAT(ask(page_, "/metrics").body,
              AllOf(HasSubstr("\nsluice_steps_total 3\n"), HasSubstr("\nsluice_queue_groups 12\n")));
}

TEST_F(RunPageTest, StepsComeInPartsFromTheOneThatIsNamed) {
  write_steps(1, 1500);
  const auto first = json("/api/steps");
  EXPECT_THAT(first.at("steps"), SizeIs(1000));
  EXPECT_TRUE(first.at("more").get<bool>());
  const auto rest = json("/api/steps", {{"since", "1000"}, {"generation", "0"}});
  EXPECT_THAT(rest.at("steps"), SizeIs(501));
  EXPECT_EQ(rest.at("steps").at(0).at("step"), 1000);
  EXPECT_FALSE(rest.at("more").get<bool>());
}

TEST_F(RunPageTest, AfterAResumeTheStepsComeAnew) {
  write_steps(1, 10);
  EXPECT_EQ(json("/api/steps").at("generation"), 0);
  write_steps(5, 8);
  const auto anew = json("/api/steps", {{"since", "10"}, {"generation", "0"}});
  EXPECT_EQ(anew.at("generation"), 1);
  EXPECT_THAT(anew.at("steps"), SizeIs(8));
}

TEST_F(RunPageTest, WhatIsNoNumberIsRefused) {
  EXPECT_EQ(ask(page_, "/api/steps", {{"since", "many"}}).status, 400);
  EXPECT_EQ(ask(page_, "/api/rollouts", {{"step", "../../run"}}).status, 400);
  EXPECT_EQ(ask(page_, "/api/rollouts", {{"step", "7"}}).status, 400);
  EXPECT_EQ(ask(page_, "/run.json").status, 404);
  EXPECT_EQ(ask(page_, "/../run.json").status, 404);
}

TEST_F(RunPageTest, RolloutsAreSearched) {
  write_rollouts(4, {group(1, "What is 2 + 2?", "Four"), group(2, "And 3 + 3?", kHostile)});
  write_rollouts(12, {group(3, "x", "y")});
  EXPECT_EQ(json("/api/rollouts").at("steps"), Json({4, 12}));
  EXPECT_EQ(json("/api/rollouts", {{"step", "4"}}).at("found"), 2);
  const auto found = json("/api/rollouts", {{"step", "4"}, {"search", "FOUR"}});
  ASSERT_THAT(found.at("groups"), SizeIs(1));
  EXPECT_EQ(found.at("groups").at(0).at("group"), 1);
  const auto hostile = json("/api/rollouts", {{"step", "4"}, {"search", "<script>"}});
  EXPECT_EQ(hostile.at("groups").at(0).at("completions").at(0).at("text"),
            "<script>alert(1)</script>\x1b[31m\"'&\xEF\xBF\xBD");
}

TEST_F(RunPageTest, OfALongTextTheBeginningIsShown) {
  std::vector<Json> groups(30, group(1, "p", std::string((10 << 20) - 1, 'x') + "é"));
  groups.resize(2);
  write_rollouts(4, groups);
  const auto found = json("/api/rollouts", {{"step", "4"}});
  const auto& completion = found.at("groups").at(0).at("completions").at(0);
  EXPECT_EQ(completion.at("text").get<std::string>().size(), 16 << 10);
  EXPECT_EQ(completion.at("text_bytes"), (10 << 20) + 1);
}

TEST_F(RunPageTest, OfManyGroupsSomeAreShownAtATime) {
  std::vector<Json> groups;
  for (int64_t i = 0; i < 50; ++i) groups.push_back(group(i, "p", "c"));
  write_rollouts(4, groups);
  EXPECT_THAT(json("/api/rollouts", {{"step", "4"}}).at("groups"), SizeIs(20));
  const auto last = json("/api/rollouts", {{"step", "4"}, {"offset", "40"}});
  EXPECT_THAT(last.at("groups"), SizeIs(10));
  EXPECT_EQ(last.at("groups").at(0).at("group"), 40);
}

// Somebody's name for this machine, put there to read from it in a browser that is on it.
TEST_F(RunPageTest, AHostThatIsNotLoopbackIsRefused) {
  for (const char* host : {"evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "192.168.1.7"})
    EXPECT_EQ(ask(page_, "/api/status", {}, {{"host", host}}).status, 403) << host;
  EXPECT_EQ(ask(page_, "/", {}, {}).status, 403);
  for (const char* host : {"localhost:8000", "127.0.0.1", "[::1]:8000", "127.0.0.2:1"})
    EXPECT_EQ(ask(page_, "/api/status", {}, {{"host", host}}).status, 200) << host;
}

TEST_F(RunPageTest, WhereThereIsATokenNothingIsSaidWithoutIt) {
  RunPage page(run_.directory, "secret");
  for (const char* path : {"/", "/metrics", "/api/status", "/api/events"}) {
    EXPECT_EQ(ask(page, path).status, 401) << path;
    EXPECT_EQ(ask(page, path, {{"token", "secre"}}).status, 401);
    EXPECT_EQ(ask(page, path, {{"token", ""}}).status, 401);
  }
  const auto page_answer = ask(page, "/", {{"token", "secret"}}, {{"host", "trainer.example:8000"}});
  EXPECT_EQ(page_answer.status, 200);
  EXPECT_EQ(page_answer.headers.back().second, "sluice_token_8000=secret; HttpOnly; SameSite=Strict; Path=/");
  EXPECT_EQ(ask(page, "/metrics", {}, {{"authorization", "Bearer secret"}}).status, 200);
  EXPECT_EQ(ask(page, "/metrics", {}, {{"authorization", "Bearer secrets"}}).status, 401);
  const std::string host = "trainer.example:8000";
  EXPECT_EQ(
      ask(page, "/api/status", {}, {{"host", host}, {"cookie", "a=b; sluice_token_8000=secret"}}).status,
      200);
  // That of another run on the same host, which has the page of another port.
  const std::string both = "sluice_token_8001=other; sluice_token_8000=secret";
  EXPECT_EQ(ask(page, "/", {}, {{"host", host}, {"cookie", both}}).status, 200);
  EXPECT_EQ(ask(page, "/", {}, {{"host", host}, {"cookie", "sluice_token_8001=secret"}}).status, 401);
}

TEST_F(RunPageTest, NewsAreStepsAndHowThingsStand) {
  EXPECT_THAT(page_.news(), IsEmpty());
  write_steps(1, 2);
  EXPECT_EQ(page_.news(), "event: step\ndata: {\"step\":2,\"generation\":0}\n\n");
  EXPECT_THAT(page_.news(), IsEmpty());
  write_file_atomically(run_.directory.state(), R"({"schema":1,"wall_time":8,"state":{},"actors":{}})");
  EXPECT_THAT(page_.news(), StartsWith("event: live\ndata: {\"schema\":1,\"wall_time\":8,"));
  EXPECT_THAT(page_.news(), IsEmpty());
}

TEST_F(RunPageTest, WhatSomebodyElseHasAskedForIsStillNews) {
  write_steps(1, 2);
  write_file_atomically(run_.directory.state(), R"({"schema":1,"wall_time":8,"state":{},"actors":{}})");
  ask(page_, "/metrics");
  EXPECT_EQ(json("/api/status").at("live").at("wall_time"), 8.0);
  EXPECT_THAT(page_.news(), AllOf(HasSubstr("event: step\n"), HasSubstr("event: live\n")));
}

TEST_F(RunPageTest, AStateThatIsReplacedIsReadAgain) {
  for (const char* depth : {"12", "13", "14"}) {
    write_file_atomically(run_.directory.state(), R"({"schema":1,"wall_time":8,"state":{"queue_depth":")" +
                                                      std::string(depth) + R"("},"actors":{}})");
    EXPECT_EQ(json("/api/status").at("live").at("state").at("queue_depth"), depth);
  }
  fs::remove(run_.directory.state());
  EXPECT_EQ(json("/api/status").at("live").at("wall_time"), 0.0);
}

TEST_F(RunPageTest, AStateThatIsBrokenShowsNothing) {
  for (const char* broken : {"{\"state\":{", "[1]", "", "{\"wall_time\":1}\x80"}) {
    write_file_atomically(run_.directory.state(), broken);
    EXPECT_EQ(json("/api/status").at("live").at("state"), Json::object()) << broken;
    EXPECT_EQ(ask(page_, "/metrics").status, 200);
  }
}

TEST_F(RunPageTest, AServedPageIsNamedInTheRunWhileItIsThere) {
  std::string url, why;
  const auto web = [&] { return read_json(run_.directory.root() / "run.json").value("web", Json::object()); };
  {
    const auto served = ServedPage::start(run_.directory, recipe_.monitor, url, why);
    ASSERT_NE(served, nullptr) << why;
    EXPECT_THAT(url, StartsWith("http://127.0.0.1:"));
    EXPECT_THAT(web(), IsEmpty());
    served->name_in_run();
    EXPECT_EQ(web().at("url"), url);
    // The same port again: said, and no more.
    auto spec = recipe_.monitor;
    spec.port = std::stoi(url.substr(17));
    EXPECT_EQ(ServedPage::start(run_.directory, spec, url, why), nullptr);
    EXPECT_THAT(why, HasSubstr("cannot listen at 127.0.0.1:"));
  }
  EXPECT_THAT(web(), IsEmpty());
  EXPECT_EQ(RunDirectory(run_.directory.root()).id(), run_.directory.id());
}

TEST_F(RunPageTest, AnAddressThatOthersReachHasAToken) {
  auto spec = recipe_.monitor;
  spec.bind = "0.0.0.0";
  std::string url, why;
  const auto served = ServedPage::start(run_.directory, spec, url, why);
  ASSERT_NE(served, nullptr) << why;
  EXPECT_EQ(url.size() - url.find("?token="), 7 + 32);
  served->name_in_run();
  const auto kept = read_file(run_.directory.root() / "run.json");
  EXPECT_THAT(kept, Not(HasSubstr(url.substr(url.find("?token=") + 7))));
}

}  // namespace
}  // namespace sluice::recipes
