#include <gmock/gmock.h>

#include "base/error.h"
#include "monitor/redis_monitor.h"

namespace sluice::monitor {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string refusal(const std::string& url) {
  try {
    parse_redis_url(url);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(RedisUrl, TakesAHostAndFillsInThePort) {
  const auto address = parse_redis_url("redis://example.org");
  EXPECT_EQ(address.host, "example.org");
  EXPECT_EQ(address.port, 6379);
  EXPECT_EQ(address.database, 0);
  EXPECT_EQ(address.unix_socket + address.username + address.password, "");
}

TEST(RedisUrl, TakesEveryPart) {
  const auto address = parse_redis_url("redis://ada:p%40ss:w/ord@[::1]:7000/12");
  EXPECT_EQ(address.username, "ada");
  EXPECT_EQ(address.password, "p@ss:w/ord");
  EXPECT_EQ(address.host, "::1");
  EXPECT_EQ(address.port, 7000);
  EXPECT_EQ(address.database, 12);
}

TEST(RedisUrl, TakesAPasswordAlone) {
  const auto address = parse_redis_url("redis://:secret@host/");
  EXPECT_EQ(address.username, "");
  EXPECT_EQ(address.password, "secret");
  EXPECT_EQ(address.host, "host");
}

TEST(RedisUrl, TakesAUnixSocket) {
  EXPECT_EQ(parse_redis_url("unix:///run/redis/redis.sock").unix_socket, "/run/redis/redis.sock");
}

TEST(RedisUrl, NamesWhatIsWrong) {
  EXPECT_THAT(refusal("localhost:6379"), HasSubstr("unknown scheme"));
  EXPECT_THAT(refusal(""), HasSubstr("unknown scheme"));
  EXPECT_THAT(refusal("rediss://host"), HasSubstr("TLS"));
  EXPECT_THAT(refusal("redis://"), HasSubstr("no host"));
  EXPECT_THAT(refusal("redis://:6379"), HasSubstr("no host"));
  EXPECT_THAT(refusal("redis://a b"), HasSubstr("no host"));
  EXPECT_THAT(refusal("redis://host:0"), HasSubstr("the port is \"0\", a number from 1 to 65535"));
  EXPECT_THAT(refusal("redis://host:65536"), HasSubstr("the port is \"65536\""));
  EXPECT_THAT(refusal("redis://host:"), HasSubstr("the port is \"\""));
  EXPECT_THAT(refusal("redis://host:12x"), HasSubstr("the port is \"12x\""));
  EXPECT_THAT(refusal("redis://host/two"), HasSubstr("the database is \"two\""));
  EXPECT_THAT(refusal("redis://host/-1"), HasSubstr("the database is \"-1\""));
  EXPECT_THAT(refusal("redis://[::1"), HasSubstr("no ] after ["));
  EXPECT_THAT(refusal("redis://[::1]7000"), HasSubstr("\"7000\" after the host"));
  EXPECT_THAT(refusal("redis://ada@host"), HasSubstr("a user without a password"));
  EXPECT_THAT(refusal("redis://ada:@host"), HasSubstr("the password is empty"));
  EXPECT_THAT(refusal("redis://ada:%4@host"), HasSubstr("%25"));
  EXPECT_THAT(refusal("unix://redis.sock"), HasSubstr("not absolute"));
  EXPECT_THAT(refusal("unix:///" + std::string(107, 'a')), HasSubstr("has 108 bytes, the system takes 107"));
}

TEST(RedisUrl, NeverRepeatsAPassword) {
  EXPECT_THAT(refusal("redis://ada:secret@host:x"), Not(HasSubstr("secret")));
  EXPECT_THAT(refusal("rediss://ada:secret@host"), Not(HasSubstr("secret")));
  EXPECT_THAT(refusal("redis://secret%zz:@host"), Not(HasSubstr("secret")));
}

}  // namespace
}  // namespace sluice::monitor
