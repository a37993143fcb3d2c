#include "base/state_dump.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "base/pulse.h"

namespace sluice {
namespace {

using testing::HasSubstr;

TEST(StateDump, AnswersSigusr2WithThePulseAndWhatThePartsSay) {
  testing::internal::CaptureStderr();
  {
    const StateDump dump("learner-0");
    now_doing("step 3: waits for its groups");
    std::mutex mutex;
    std::condition_variable asked;
    int times = 0;
    const auto say = [&] {
      const std::lock_guard lock(mutex);
      ++times;
      asked.notify_all();
      return std::string("queue 4");
    };
    {
      const Describes gone([] { return std::string("nobody asks this one"); });
    }
    const Describes part(say);
    ::kill(::getpid(), SIGUSR2);
    std::unique_lock lock(mutex);
    ASSERT_TRUE(asked.wait_for(lock, std::chrono::seconds(20), [&] { return times == 1; }));
  }
  const auto said = testing::internal::GetCapturedStderr();
  EXPECT_THAT(said, HasSubstr("learner-0 (pid " + std::to_string(::getpid()) +
                              "): step 3: waits for its groups; the last sign of life was "));
  EXPECT_THAT(said, HasSubstr("\nlearner-0: queue 4\n"));
  EXPECT_THAT(said, testing::Not(HasSubstr("nobody asks")));
}

}  // namespace
}  // namespace sluice
