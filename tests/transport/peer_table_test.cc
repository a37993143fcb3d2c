#include "transport/peer_table.h"

#include <gtest/gtest.h>

namespace sluice::transport {
namespace {

Identity actor(const std::string& name, uint64_t incarnation) {
  return {.name = name, .incarnation = incarnation};
}

TEST(PeerTable, ForgetsAPeerThatIsSilentForTheTimeout) {
  PeerTable table(100);
  table.join("a", actor("actor-0", 1), 0);
  table.join("b", actor("actor-1", 1), 0);
  table.heard("b", 50);

  EXPECT_TRUE(table.expire(99).empty());
  const auto silent = table.expire(100);

  ASSERT_EQ(silent.size(), 1u);
  EXPECT_EQ(silent[0].first, "a");
  EXPECT_EQ(silent[0].second.identity.name, "actor-0");
  EXPECT_EQ(table.find("a"), nullptr);
  EXPECT_EQ(table.expire(150).size(), 1u);
}

TEST(PeerTable, ANewIncarnationReplacesTheOldOne) {
  PeerTable table(100);
  EXPECT_EQ(table.join("a", actor("actor-0", 1), 0), "");
  EXPECT_EQ(table.join("b", actor("actor-0", 2), 10), "a");

  EXPECT_EQ(table.find("a"), nullptr);
  EXPECT_EQ(table.find("b")->identity.incarnation, 2u);
  EXPECT_EQ(table.peers().size(), 1u);
}

TEST(PeerTable, TheSamePeerMaySayHelloAgain) {
  PeerTable table(100);
  table.join("a", actor("actor-0", 1), 0);
  table.find("a")->credit = 4;

  EXPECT_EQ(table.join("a", actor("actor-0", 1), 90), "");

  EXPECT_EQ(table.find("a")->credit, 0);  // what it gave before is over
  EXPECT_TRUE(table.expire(150).empty());
}

TEST(PeerTable, LeavingAndHearingOfAStrangerDoNothing) {
  PeerTable table(100);
  table.heard("x", 5);
  table.leave("x");

  EXPECT_TRUE(table.peers().empty());
}

}  // namespace
}  // namespace sluice::transport
