#include "monitor/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <ctime>
#include <memory>

#include "base/error.h"
#include "monitor/internal/http_parse.h"

namespace sluice::monitor {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

// A connection to the server, as a client that may do as it likes.
class Connection {
 public:
  Connection() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  explicit Connection(int port) : Connection() { connect_to(port); }
  ~Connection() { close(fd_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void connect_to(int port) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  void say(const std::string& text) const {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), std::ssize(text));
  }
  // Until the end, or until `enough` has come.
  std::string hear(const std::string& enough = "") const {
    std::string all;
    char bytes[4096];
    while (enough.empty() || all.find(enough) == std::string::npos) {
      const auto count = recv(fd_, bytes, sizeof bytes, 0);
      if (count <= 0) break;
      all.append(bytes, static_cast<size_t>(count));
    }
    return all;
  }

 private:
  const int fd_;
  bool connected_ = false;
};

std::string get(int port, const std::string& target) {
  const Connection connection(port);
  connection.say("GET " + target + " HTTP/1.1\r\nHost: localhost\r\n\r\n");
  return connection.hear();
}

HttpResponse echo(const HttpRequest& request) {
  std::string body = request.path;
  for (const auto& [name, value] : request.query) body += " " + name + "=" + value;
  return {.body = body};
}
std::string no_news() { return ""; }

TEST(HttpServer, AnswersWhatItIsAsked) {
  const HttpServer server({}, echo, no_news);
  EXPECT_THAT(get(server.port(), "/api/steps?since=12&search=a%20b+c"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("\r\nConnection: close\r\n"),
                    HasSubstr("\r\nX-Content-Type-Options: nosniff\r\n"),
                    EndsWith("\r\n\r\n/api/steps search=a b c since=12")));
}

TEST(HttpServer, ALargeAnswerArrivesWhole) {
  const std::string large(20 << 20, 'x');
  const HttpServer server(
      {}, [&](const HttpRequest&) { return HttpResponse{.body = large}; }, no_news);
  const auto answer = get(server.port(), "/");
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, large.size());
}

TEST(HttpServer, WhatGoesWrongIsSaidToWhoAsked) {
  const HttpServer server(
      {}, [](const HttpRequest&) -> HttpResponse { fail("there is no such step"); }, no_news);
  testing::internal::CaptureStderr();
  EXPECT_THAT(get(server.port(), "/x"),
              AllOf(StartsWith("HTTP/1.1 500 "), HasSubstr("there is no such step")));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("web page: /x: there is no such step"));
}

// Three hundred clients that never finish their request, more than are kept at all.
TEST(HttpServer, ClientsThatNeverFinishStopNobodyElse) {
  const HttpServer server({.request_ms = 60'000}, echo, no_news);
  std::vector<std::unique_ptr<Connection>> slow;
  for (int i = 0; i < 300; ++i) {
    slow.push_back(std::make_unique<Connection>(server.port()));
    ASSERT_TRUE(slow.back()->connected());
    slow.back()->say("GET / HTTP/1.1\r\nHost: lo");
    if (i % 50 == 0) {
      EXPECT_THAT(get(server.port(), "/metrics"), EndsWith("/metrics"));
    }
  }
  EXPECT_THAT(get(server.port(), "/metrics"), EndsWith("/metrics"));
  EXPECT_THAT(slow.front()->hear(), IsEmpty());  // gone, to make room
}

// As many, each with another byte a tenth of a second later: that is no sign of life.
TEST(HttpServer, ClientsThatSendAByteAtATimeAreLetGo) {
  const HttpServer server({.request_ms = 500}, echo, no_news);
  std::vector<std::unique_ptr<Connection>> slow;
  for (int i = 0; i < 100; ++i) slow.push_back(std::make_unique<Connection>(server.port()));
  for (const char byte : std::string("GET / HTTP")) {
    for (const auto& connection : slow) send(connection->fd(), &byte, 1, MSG_NOSIGNAL);
    EXPECT_THAT(get(server.port(), "/metrics"), EndsWith("/metrics"));
    usleep(100'000);
  }
  for (const auto& connection : slow) EXPECT_THAT(connection->hear(), IsEmpty());
}

double cpu_seconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

// It once asked for the client that it could not have again and again, with all of a core.
TEST(HttpServer, WithoutADescriptorLeftItWaits) {
  const HttpServer server({}, echo, no_news);
  testing::internal::CaptureStderr();
  Connection connection;
  rlimit before{};
  getrlimit(RLIMIT_NOFILE, &before);
  // All below its descriptor are taken, since it got the lowest.
  const rlimit none{.rlim_cur = static_cast<rlim_t>(connection.fd()) + 1, .rlim_max = before.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  connection.connect_to(server.port());
  connection.say("GET /late HTTP/1.1\r\nHost: localhost\r\n\r\n");
  const double used = cpu_seconds();
  usleep(600'000);
  EXPECT_LT(cpu_seconds() - used, 0.2);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(connection.hear(), EndsWith("/late"));
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "sluice: web page: a client has to wait: Too many open files\n");  // once
}

TEST(HttpServer, ARequestThatIsNotWholeInTimeIsLetGo) {
  const HttpServer server({.request_ms = 50}, echo, no_news);
  const Connection connection(server.port());
  connection.say("GET / HTTP/1.1\r\n");
  EXPECT_THAT(connection.hear(), IsEmpty());
}

TEST(HttpServer, WhoDoesNotTakeTheAnswerIsLetGo) {
  const std::string large(64 << 20, 'x');  // more than the kernel keeps for it
  const HttpServer server(
      {.response_ms = 50},
      [&](const HttpRequest& request) {
        return HttpResponse{.body = request.path == "/large" ? large : "small"};
      },
      no_news);
  const Connection connection(server.port());
  connection.say("GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (int i = 0; i < 10; ++i) {  // the kernel takes some more now and then
    usleep(100'000);
    EXPECT_THAT(get(server.port(), "/"), EndsWith("small"));
  }
  EXPECT_LT(connection.hear().size(), large.size());
}

TEST(HttpServer, ARequestThatNeverEndsIsRefused) {
  const HttpServer server({.max_request_bytes = 8192}, echo, no_news);
  const Connection connection(server.port());
  connection.say("GET / HTTP/1.1\r\nX: " + std::string(12'000, 'x'));
  EXPECT_THAT(connection.hear(), testing::AnyOf(StartsWith("HTTP/1.1 431 "), IsEmpty()));
}

HttpResponse begin_stream(const HttpRequest&) {
  return {.type = "text/event-stream", .body = "retry: 1\n\n", .stays = true};
}

HttpResponse echo_or_follow(const HttpRequest& request) {
  return request.path == "/follow" ? begin_stream(request) : echo(request);
}

TEST(HttpServer, FollowersAreToldTheNews) {
  std::atomic<int> told = 0;
  const HttpServer server({.news_ms = 10}, begin_stream,
                          [&] { return "data: " + std::to_string(++told) + "\n\n"; });
  const Connection one(server.port()), two(server.port());
  for (const auto* connection : {&one, &two}) connection->say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  for (const auto* connection : {&one, &two}) {
    const int already = told;
    EXPECT_THAT(
        connection->hear("data: " + std::to_string(already + 3) + "\n\n"),
        AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("text/event-stream"), HasSubstr("data: ")));
  }
}

TEST(HttpServer, NobodyLooksForNewsWhileNobodyFollows) {
  std::atomic<int> looked = 0;
  const HttpServer server({.news_ms = 0}, echo_or_follow,
                          [&] { return "data: " + std::to_string(++looked) + "\n\n"; });
  for (int i = 0; i < 5; ++i) get(server.port(), "/x");
  EXPECT_EQ(looked, 0);
  const Connection follower(server.port());
  follower.say("GET /follow HTTP/1.1\r\nHost: localhost\r\n\r\n");
  EXPECT_THAT(follower.hear("data: 1\n\n"), HasSubstr("data: 1\n\n"));
}

TEST(HttpServer, NewsThatFailStopNothing) {
  testing::internal::CaptureStderr();
  {
    std::atomic<int> asked = 0;
    const HttpServer server({.news_ms = 1}, echo_or_follow, [&]() -> std::string {
      ++asked;
      asked.notify_all();
      fail("a line is damaged");
    });
    const Connection follower(server.port());
    follower.say("GET /follow HTTP/1.1\r\nHost: localhost\r\n\r\n");
    follower.hear("retry: 1\n\n");
    for (int seen = 0; seen < 2; seen = asked) asked.wait(seen);
    for (int i = 0; i < 5; ++i) EXPECT_THAT(get(server.port(), "/x"), EndsWith("/x"));
  }
  const auto said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(said, "sluice: web page: a line is damaged\n");  // once
}

TEST(HttpServer, APortThatIsTakenIsSaid) {
  const HttpServer server({}, echo, no_news);
  try {
    const HttpServer other({.port = server.port()}, echo, no_news);
    FAIL();
  } catch (const EnvironmentError& error) {
    EXPECT_THAT(error.what(), HasSubstr("cannot listen at 127.0.0.1:" + std::to_string(server.port())));
  }
  EXPECT_THROW(HttpServer({.address = "localhost"}, echo, no_news), EnvironmentError);
}

TEST(HttpServer, LoopbackIsKnown) {
  EXPECT_TRUE(is_loopback("127.0.0.1"));
  EXPECT_TRUE(is_loopback("127.8.9.1"));
  EXPECT_TRUE(is_loopback("::1"));
  EXPECT_FALSE(is_loopback("0.0.0.0"));
  EXPECT_FALSE(is_loopback("::"));
  EXPECT_FALSE(is_loopback("127.0.0.1.evil.example"));
}

int status_of(const std::string& text) { return internal::parse_http_request(text).status; }

TEST(HttpParse, OnlyAGetWithoutABodyIsLetThrough) {
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\n\r\n"), 200);
  EXPECT_EQ(status_of("GET / HTTP/1.0\r\nContent-Length: 0\r\n\r\n"), 200);
  EXPECT_EQ(status_of("POST / HTTP/1.1\r\n\r\n"), 405);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"), 413);
  EXPECT_EQ(status_of("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), 413);
}

TEST(HttpParse, WhatIsNoRequestIsRefused) {
  for (const char* text :
       {"\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP/2\r\n\r\n", "GET x HTTP/1.1\r\n\r\n",
        "GET /%zz HTTP/1.1\r\n\r\n", "GET /%4 HTTP/1.1\r\n\r\n", "GET /% HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n", "GET / HTTP/1.1\r\nA b: c\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"}) {
    EXPECT_EQ(status_of(text), 400) << text;
  }
}

TEST(HttpParse, NamesOfHeadersAreInLowerCase) {
  const auto parsed = internal::parse_http_request("GET /?a=1&b&c=%26 HTTP/1.1\r\nHOST:  me:8 \r\n\r\n");
  EXPECT_EQ(parsed.request.headers.at("host"), "me:8");
  EXPECT_EQ(parsed.request.query.at("b"), "");
  EXPECT_EQ(parsed.request.query.at("c"), "&");
}

}  // namespace
}  // namespace sluice::monitor
