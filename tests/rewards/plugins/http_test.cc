// A server of rewards, well and broken; it runs in Python, since a broken one is easier to write there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>

#include "base/error.h"
#include "base/subprocess.h"
#include "tests/rewards/plugins/plugin_cases.h"

namespace sluice::rewards {
namespace {

using testing::HasSubstr;

constexpr const char* kServer = R"(
import http.server, json, os, time
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args): pass
    def reply(self, status, body, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        right = [float(s == t) for s, t in zip(asked["solution_str"], asked["ground_truth"])]
        assert asked["query"] == [p + s for p, s in zip(asked["prompts"], asked["solution_str"])]
        assert asked["labels"] == asked["ground_truth"] and asked["extra_info"][0]["answer"] == "2"
        assert asked["truncated"] == [False] * len(right)
        def refuse_once():
            first = not os.path.exists("refused")
            open("refused", "w").close()
            self.reply(503 if first else 200, json.dumps({"rewards": right}).encode())
        say = lambda value: self.reply(200, json.dumps(value).encode())
        {
            "/score": lambda: say({"rewards": right, "extra_logs": {}}),
            "/verl": lambda: say({"scores": right}),
            "/none": lambda: say({"rewards": [None] * len(right)}),
            "/slow": lambda: time.sleep(3),
            "/hang": lambda: time.sleep(1000),
            "/drip": lambda: drip(self),
            "/drop": lambda: drop(self),
            "/refuse_once": refuse_once,
            "/status": lambda: self.reply(500, b"oops"),
            "/garbage": lambda: self.reply(200, b"\xff\xfe"),
            "/list": lambda: say(right),
            "/short": lambda: say({"rewards": right[1:]}),
            "/nan": lambda: self.reply(200, b'{"rewards": [NaN, NaN]}'),
            "/text": lambda: say({"rewards": ["1"] * len(right)}),
            "/huge": lambda: self.reply(200, b"x" * (10 << 20)),
            "/words": lambda: self.wfile.write(b"go away\r\n\r\n"),
            "/away": lambda: self.reply(302, b""),
            "/empty": lambda: self.reply(200, b""),
            "/deep": lambda: self.reply(200, b"[" * 100000),
            "/twice": lambda: self.reply(200, b'{"rewards": [1, 1], "rewards": [0, 0]}'),
            "/overflow": lambda: self.reply(200, b'{"rewards": [1e999, 1]}'),
            "/nothing": lambda: say({}),
            "/many": lambda: say({"rewards": right + right}),
            "/object": lambda: say({"rewards": {"0": 1.0, "1": 1.0}}),
            "/bytes": lambda: self.reply(200, b'{"rewards": [1, 1], "note": "\xff"}'),
        }[self.path]()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
with open("port.new", "w") as file: file.write(str(server.server_address[1]))
os.rename("port.new", "port")
server.serve_forever()
)";

class HttpReward : public testing::Test {
 protected:
  HttpReward() {
    folder_.write("server.py", std::string(kBrokenReplies) + kServer);
    server_ = Subprocess::start({.command = {"python3", "server.py"},
                                 .working_directory = folder_ / "",
                                 .output = folder_ / "server.log"});
    for (int i = 0; i < 1000 && !std::filesystem::exists(folder_ / "port"); ++i) server_->wait(10);
    std::ifstream(folder_ / "port") >> port_;
    from_.row.prompt = "1+1=";
    from_.row.columns = {{"answer", "2"}};
  }

  std::vector<RewardOutcome> ask(const std::string& path, const Json& options = Json::object()) const {
    const auto reward = folder_.make("http", "http://127.0.0.1:" + port_ + path, options);
    return score_group(*reward, from_, {"2", "3"});
  }

  PluginFolder folder_;
  std::optional<Subprocess> server_;
  std::string port_;
  Case from_;
};

TEST_F(HttpReward, IsAskedAsOpenRlhfAsksAndInVerlsWords) {
  for (const std::string path : {"/score", "/verl"}) {
    const auto outcomes = ask(path);
    ASSERT_EQ(outcomes.size(), 2u);
    EXPECT_EQ(outcomes[0].score, 1.0) << outcomes[0].unscored_reason;
    EXPECT_EQ(outcomes[1].score, 0.0);
  }
}

TEST_F(HttpReward, IsAskedAgainAfterAFailure) {
  EXPECT_EQ(ask("/refuse_once", {{"retries", 1}})[0].score, 1.0);
}

TEST_F(HttpReward, ABrokenServerLeavesTheGroupUnscoredWithAReason) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"/none", "the worker gave no score"},
      {"/slow", "timeout: no reply within 1000 ms"},
      {"/drip", "timeout: no reply within 1000 ms"},
      {"/drop", "no connection to 127.0.0.1:"},
      {"/status", "bad output: HTTP status 500"},
      {"/garbage", "bad output: reply: not JSON"},
      {"/list", "bad output: reply: an object is wanted, saw array"},
      {"/short", "bad output: 1 rewards for 2 samples"},
      {"/nan", "bad output: reply: not JSON"},
      {"/text", "bad output: a score is a number or null, saw string"},
      {"/huge", "bad output: a reply of more than"},
      {"/words", "no connection to 127.0.0.1:"},
      {"/away", "bad output: HTTP status 302"},
      {"/empty", "bad output: reply: not JSON"},
      {"/deep", "bad output: reply: JSON nested deeper than"},
      {"/twice", "stands twice"},
      {"/overflow", "bad output: reply: not JSON"},
      {"/nothing", "bad output: "},
      {"/many", "bad output: 4 rewards for 2 samples"},
      {"/object", "bad output: "},
      {"/bytes", "bad output: reply: not JSON"},
  };
  for (const auto& [path, reason] : cases) {
    const SteadyClock clock;
    const Millis begin_ms = clock.now_ms();
    const auto outcomes = ask(path, {{"timeout_ms", 1000}});
    EXPECT_LT(clock.now_ms() - begin_ms, 5'000) << path;
    for (const auto& outcome : outcomes) {
      EXPECT_FALSE(outcome.score) << path;
      EXPECT_THAT(outcome.unscored_reason, HasSubstr(reason)) << path;
    }
  }
  EXPECT_EQ(ask("/score")[0].score, 1.0);
}

TEST_F(HttpReward, IsGivenUpWhenNobodyWantsItsAnswer) {
  const auto reward =
      folder_.make("http", "http://127.0.0.1:" + port_ + "/hang", {{"timeout_ms", 900'000}, {"retries", 10}});
  auto answer = std::async(std::launch::async, [&] { return score(*reward, from_, "2"); });
  EXPECT_EQ(answer.wait_for(std::chrono::milliseconds(100)), std::future_status::timeout);

  reward->interrupt();

  EXPECT_FALSE(answer.get().score);
}

TEST_F(HttpReward, NobodyListeningIsAReason) {
  const auto reward = folder_.make("http", "http://127.0.0.1:1/score");
  EXPECT_THAT(score(*reward, from_, "2").unscored_reason, HasSubstr("no connection to 127.0.0.1:1"));
}

TEST_F(HttpReward, RefusesAnotherMachineWithoutTls) {
  const auto refusal = [&](const std::string& url) {
    return message_of<UsageError>([&] { folder_.make("http", url); });
  };
  EXPECT_THAT(refusal("127.0.0.1:80"), HasSubstr("is no URL of the form"));
  EXPECT_THAT(refusal("http:///x"), HasSubstr("names no host"));
  EXPECT_THAT(refusal("http://example.org/score"), HasSubstr("is another machine's"));
  EXPECT_THAT(refusal("http://127.0.0.1.example.org/score"), HasSubstr("is another machine's"));
  EXPECT_THAT(refusal("http://127.0.0.1:99999/score"), HasSubstr("has no port from 1 to 65535"));
  EXPECT_EQ(folder_.make("http", "http://[::1]:80/a/score/")->name(), "score");
  EXPECT_EQ(folder_.make("http", "http://localhost:9000")->name(), "localhost:9000");
}

}  // namespace
}  // namespace sluice::rewards
