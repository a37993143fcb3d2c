#include "model/kernels/team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace sluice::model::cpu {
namespace {

TEST(Team, EveryThreadSeesAtABarrierWhatTheOthersWrote) {
  Team team(3);
  std::vector<int> numbers(3);
  std::atomic<int> wrong = 0;
  for (int round = 1; round <= 2'000; ++round) {
    team.run([&](int thread) {
      for (int phase = 0; phase < 4; ++phase) {
        numbers[static_cast<size_t>(thread)] = 10 * round + phase;
        team.barrier();
        for (const int number : numbers) wrong += number == 10 * round + phase ? 0 : 1;
        team.barrier();
      }
    });
  }
  EXPECT_EQ(wrong, 0);
}

TEST(Team, ThrowsWhatAThreadThrewAndGoesOn) {
  Team team(2);
  EXPECT_THROW(team.run([](int thread) {
    if (thread == 1) throw std::runtime_error("thread 1");
  }),
               std::runtime_error);
  std::atomic<int> ran = 0;
  team.run([&](int) { ++ran; });
  EXPECT_EQ(ran, 2);
}

TEST(Team, AloneItIsTheCaller) {
  Team team(1);
  int ran = 0;
  team.run([&](int thread) {
    team.barrier();
    ran += 1 + thread;
  });
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace sluice::model::cpu
