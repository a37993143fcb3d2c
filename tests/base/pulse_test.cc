#include "base/pulse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

TEST(Pulse, SaysWhatIsDoneAndCountsSignsOfLife) {
  const TempFolder folder;
  EXPECT_FALSE(read_pulse(folder / "actor-0"));
  keep_pulse(folder / "actor-0");
  EXPECT_EQ(read_pulse(folder / "actor-0")->doing, "starts");

  now_doing("waits for the groups of step 12", 5'000);
  const auto first = read_pulse(folder / "actor-0");
  beat();
  now_doing("learns");
  const auto second = read_pulse(folder / "actor-0");

  EXPECT_EQ(first->doing, "waits for the groups of step 12");
  EXPECT_EQ(first->limit_ms, 5'000);
  EXPECT_EQ(second->doing, "learns");  // shorter than what stood there
  EXPECT_EQ(second->limit_ms, kSilentMs);
  EXPECT_EQ(second->beats, first->beats + 2);
  EXPECT_THAT(describe_pulse(), testing::HasSubstr("learns; the last sign of life was 0."));
}

TEST(Pulse, OfAThreadBesideStaysWithIt) {
  const TempFolder folder;
  keep_pulse(folder / "actor-0");
  now_doing("decodes");
  const auto before = read_pulse(folder / "actor-0");
  SidePulse side;

  std::jthread([&side] {
    side.adopt();
    now_doing("scores", 7'000);
    beat();
  }).join();

  EXPECT_EQ(side.now().doing, "scores");
  EXPECT_EQ(side.now().limit_ms, 7'000);
  EXPECT_EQ(side.now().beats, 2u);
  const auto after = read_pulse(folder / "actor-0");
  EXPECT_EQ(after->doing, "decodes");
  EXPECT_EQ(after->beats, before->beats);
}

TEST(Pulse, IsOverdueWithoutASignOfLifeInItsTimeUnlessItComputes) {
  now_doing("waits", 100);
  EXPECT_FALSE(is_overdue());
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_TRUE(is_overdue());
  beat();
  EXPECT_FALSE(is_overdue());
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(150);
  while (std::chrono::steady_clock::now() < until) {
  }
  EXPECT_FALSE(is_overdue());
}

TEST(Pulse, IsThereInPartForNobody) {
  const TempFolder folder;
  write_plain(folder / "torn", "short");
  EXPECT_FALSE(read_pulse(folder / "torn"));
}

}  // namespace
}  // namespace sluice
