// A run as it is watched: by its page, by Prometheus, by its health rules, and after its end by its report.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <sstream>

#include "base/files.h"
#include "base/subprocess.h"
#include "tests/app/sluice_process.h"
#include "tests/base/taken_port.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// The port of the page that the run has printed; 0 where it has printed none.
int page_port(const std::string& out) {
  std::smatch match;
  return std::regex_search(out, match, std::regex("page: http://127\\.0\\.0\\.1:([0-9]+)/\n"))
             ? std::stoi(match[1])
             : 0;
}

int connect_to(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const timeval limit{.tv_sec = 20, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), 0);
  return fd;
}

// The body of the answer to a GET, behind its head.
std::string get(int port, const std::string& target) {
  const int fd = connect_to(port);
  const std::string request = "GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL), std::ssize(request));
  std::string all;
  char bytes[4096];
  for (ssize_t count = 0; (count = recv(fd, bytes, sizeof bytes, 0)) > 0;)
    all.append(bytes, static_cast<size_t>(count));
  close(fd);
  EXPECT_THAT(all, StartsWith("HTTP/1.1 200 OK\r\n"));
  const auto head = all.find("\r\n\r\n");
  return head == std::string::npos ? "" : all.substr(head + 4);
}

// The inodes of the sockets that the processes of a run have open: those with its lock, which all of them
// hold.
std::set<std::string> sockets_of(const fs::path& run) {
  std::set<std::string> sockets;
  std::error_code gone;  // a process that has ended, or is somebody else's
  for (const auto& process : fs::directory_iterator("/proc")) {
    std::set<std::string> open;
    for (const auto& entry : fs::directory_iterator(process.path() / "fd", gone))
      open.insert(fs::read_symlink(entry.path(), gone).string());
    if (!open.contains((run / "lock").string())) continue;
    for (const auto& name : open)
      if (name.starts_with("socket:[")) sockets.insert(name.substr(8, name.size() - 9));
  }
  return sockets;
}

// Where the processes of a run listen, as the kernel writes it: "0100007F" is 127.0.0.1.
std::vector<std::string> listeners_of(const fs::path& run) {
  const auto sockets = sockets_of(run);
  std::vector<std::string> addresses;
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream lines(table);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream in(line);
      const std::vector<std::string> words{std::istream_iterator<std::string>(in), {}};
      if (words.size() > 9 && words[3] == "0A" && sockets.contains(words[9]))
        addresses.push_back(words[1].substr(0, words[1].find(':')));
    }
  }
  return addresses;
}

// That of a rule, in a line of metrics.jsonl; others may stand beside it.
Json alarm_of(const Json& line, const std::string& rule) {
  for (const auto& alarm : line.value("alarms", Json::array())) {
    if (alarm.at("rule") == rule) return alarm;
  }
  ADD_FAILURE() << "no alarm of " << rule << " in " << line;
  return {{"since", -1}};
}

TEST(Monitor, ThePageOfARunSaysWhatItsFilesSay) {
  const Workspace workspace;
  Sluice run(workspace, {"run", "recipe.toml", "sft.steps=1", "grpo.steps=100000"});
  ASSERT_TRUE(run.wait_for_step("grpo", 3)) << run.err();
  const int port = page_port(run.out());
  ASSERT_GT(port, 0) << run.out();
  EXPECT_THAT(listeners_of(workspace.run()), testing::ElementsAre("0100007F"));
  EXPECT_EQ(read_json(workspace.run() / "run.json").at("web").at("url"),
            "http://127.0.0.1:" + std::to_string(port) + "/");

  EXPECT_THAT(get(port, "/"), HasSubstr("<!doctype html>"));
  const auto status = parse_json(get(port, "/api/status"), "status");
  EXPECT_EQ(status.at("run"), "tiny");
  EXPECT_GE(status.at("last").at("step"), 3);
  EXPECT_TRUE(status.at("live").at("state").contains("credits"));
  EXPECT_TRUE(status.at("doing").contains("learner-0"));
  const auto steps = parse_json(get(port, "/api/steps?since=2"), "steps").at("steps");
  EXPECT_EQ(steps.at(0).at("step"), 2);
  const auto line = workspace.metrics().at(1);
  EXPECT_EQ(steps.at(0), line);
  // Clients that never end their request are in nobody's way.
  std::vector<int> slow(100);
  for (int& fd : slow) {
    fd = connect_to(port);
    EXPECT_EQ(send(fd, "G", 1, MSG_NOSIGNAL), 1);
  }
  EXPECT_THAT(get(port, "/metrics"), HasSubstr("\nsluice_groups_issued_total "));
  for (const int fd : slow) close(fd);
  const auto kept = parse_json(get(port, "/api/rollouts"), "rollouts").at("steps");
  ASSERT_FALSE(kept.empty());
  EXPECT_FALSE(parse_json(get(port, "/api/rollouts?step=" + kept.at(0).dump()), "rollouts")
                   .at("groups")
                   .at(0)
                   .at("completions")
                   .empty());

  run.process().signal(SIGTERM);
  EXPECT_EQ(run.exit_code(), 143);
  EXPECT_FALSE(read_json(workspace.run() / "run.json").contains("web"));
}

TEST(Monitor, TopServesTheSamePageOfARunThatHasEnded) {
  const Workspace workspace;
  // Others were to reach its page: not this one.
  const auto run = sluice(workspace, {"run", "recipe.toml", "monitor.redis=off", "sft.steps=1",
                                      "grpo.steps=3", "monitor.bind=0.0.0.0"});
  ASSERT_EQ(run.code, 0) << run.err;
  const auto before = contents(workspace.run());
  Sluice top(workspace, {"top", "runs/tiny", "--web"});
  ASSERT_TRUE(top.wait_until([&] { return page_port(top.out()) > 0; })) << top.err();
  const int port = page_port(top.out());
  EXPECT_THAT(get(port, "/"), HasSubstr("<!doctype html>"));
  auto status = parse_json(get(port, "/api/status"), "status");
  auto printed = parse_json(sluice(workspace, {"top", "runs/tiny", "--json"}).out, "top");
  status.erase("now");
  printed.erase("now");
  EXPECT_EQ(status, printed);
  EXPECT_EQ(status.at("state"), "finished");
  EXPECT_FALSE(parse_json(get(port, "/api/rollouts?step=4"), "rollouts").at("groups").empty());
  top.process().signal(SIGINT);
  EXPECT_EQ(top.exit_code(), 0) << top.err();
  EXPECT_EQ(contents(workspace.run()), before);  // it only reads
}

TEST(Monitor, APageThatCannotBeServedIsSaidAndTheRunGoesOn) {
  const Workspace workspace;
  const TakenPort taken;
  const auto port = std::to_string(taken.number());
  const auto run = sluice(workspace, {"run", "recipe.toml", "monitor.redis=off", "sft.steps=1",
                                      "grpo.steps=2", "monitor.port=" + port});
  EXPECT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("no page: web page: cannot listen at 127.0.0.1:" + port));
}

TEST(Monitor, ARunLeavesAReportAndEventFiles) {
  const Workspace workspace;
  const auto run =
      sluice(workspace, {"run", "recipe.toml", "monitor.redis=off", "sft.steps=2", "grpo.steps=3"});
  ASSERT_EQ(run.code, 0) << run.err;
  EXPECT_THAT(run.out, HasSubstr("report: " + (workspace.run() / "report.html").string()));
  const auto report = read_file(workspace.run() / "report.html");
  EXPECT_THAT(report, AllOf(HasSubstr("<h1>tiny</h1>"), HasSubstr("Rollouts of step 5"), HasSubstr("<svg ")));
  int64_t num_files = 0;
  for (const auto& entry : fs::directory_iterator(workspace.run()))
    num_files += entry.path().filename().string().starts_with("events.out.tfevents.") ? 1 : 0;
  EXPECT_EQ(num_files, 2);  // one of each stage
  EXPECT_EQ(workspace.metrics().back().contains("alarms"), false);
}

TEST(Monitor, ARunThatIsStoppedOrFailsLeavesAReportToo) {
  const Workspace workspace;
  const std::vector<std::string> command{"run", "recipe.toml", "monitor.redis=off", "sft.steps=2"};
  sluice_until(workspace, command, "grpo", 2, SIGINT);
  EXPECT_THAT(read_file(workspace.run() / "report.html"),
              AllOf(HasSubstr("<strong>Stopped</strong>"), HasSubstr(" of 20</td>"), HasSubstr("issued ")));

  auto again = command;
  again.push_back("--resume");
  const auto failed = sluice(workspace, again, {{"SLUICE_FAIL", "journal.after_write:2:error"}});
  ASSERT_NE(failed.code, 0);
  EXPECT_THAT(failed.out, HasSubstr("report: "));
  EXPECT_THAT(read_file(workspace.run() / "report.html"),
              AllOf(HasSubstr("<strong>Failed, exit code " + std::to_string(failed.code) + "</strong><br>"),
                    HasSubstr("journal"), HasSubstr("--resume")));

  // One whose learner is killed, so that nobody ended well.
  const auto killed = sluice(workspace, again, {{"SLUICE_FAIL", "journal.after_write:2:kill"}});
  ASSERT_EQ(killed.code, 1) << killed.out << killed.err;
  EXPECT_THAT(read_file(workspace.run() / "report.html"), HasSubstr("was killed by SIGKILL"));
}

TEST(Monitor, ARuleOfStopOnEndsTheRunWithACheckpointAndResumeGoesOn) {
  const Workspace workspace;
  const std::vector<std::string> command{"run",
                                         "recipe.toml",
                                         "monitor.redis=off",
                                         "sft.steps=1",
                                         "grpo.steps=23",
                                         "rewards=[{use=\"regex\", pattern=\"[0-9]{40}\"}]",
                                         "grpo.health={stop_on=[\"no_reward\"]}"};
  const auto ill = sluice(workspace, command);
  EXPECT_EQ(ill.code, 5) << ill.out << ill.err;
  EXPECT_THAT(ill.out, HasSubstr("alarm: grpo: no_reward: every completion earned a reward of 0"));
  EXPECT_THAT(ill.err, HasSubstr("the run is stopped by health.stop_on"));
  EXPECT_EQ(workspace.metrics().back().at("stage_step"), 20);
  EXPECT_EQ(alarm_of(workspace.metrics().back(), "no_reward").at("since"), 21);
  const auto state = read_json(workspace.run() / "checkpoints" / "latest" / "state" / "state.json");
  EXPECT_EQ(state.at("stage_step"), 20);
  EXPECT_THAT(read_file(workspace.run() / "report.html"), HasSubstr("<strong>no_reward</strong>"));

  auto again = command;
  again.push_back("--resume");
  const auto resumed = sluice(workspace, again);
  EXPECT_EQ(resumed.code, 0) << resumed.out << resumed.err;
  EXPECT_EQ(workspace.metrics().back().at("stage_step"), 23);
  EXPECT_EQ(alarm_of(workspace.metrics().back(), "no_reward").at("since"), 21);
}

}  // namespace
}  // namespace sluice::app
