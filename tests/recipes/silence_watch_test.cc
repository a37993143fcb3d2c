#include "recipes/internal/silence_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "base/cpu_time.h"
#include "base/pulse.h"
#include "base/subprocess.h"
#include "tests/base/temp_folder.h"

namespace sluice::recipes::internal {
namespace {

using testing::HasSubstr;

// The watch sees another process's time of computing and this one's beats.
struct SilenceWatchTest : testing::Test {
  Subprocess start(const std::string& script) {
    return Subprocess::start({.command = {"/bin/sh", "-c", script}});
  }
  // One that has begun to wait.
  Subprocess asleep() {
    auto process = start("exec sleep 60");
    for (int waits = 0; waits < 20; ++waits) {
      if (is_runnable(process.pid())) waits = 0;
      process.wait(1);
    }
    return process;
  }
  TempFolder folder_;
};

TEST_F(SilenceWatchTest, NamesWhatASilentProcessWasDoing) {
  keep_pulse(folder_ / "learner-0");
  now_doing("step 3: waits for its groups", 2'000);
  auto process = asleep();
  SilenceWatch watch(process.pid(), folder_ / "learner-0");

  EXPECT_EQ(watch.look(10'000), "");
  EXPECT_EQ(watch.look(11'999), "");
  EXPECT_EQ(watch.look(13'000),
            "has given no sign of life for 3 s; the last was: step 3: waits for its groups");
}

TEST_F(SilenceWatchTest, ABeatIsASignOfLife) {
  keep_pulse(folder_ / "learner-0");
  now_doing("waits", 2'000);
  auto process = asleep();
  SilenceWatch watch(process.pid(), folder_ / "learner-0");

  EXPECT_EQ(watch.look(10'000), "");
  beat();
  EXPECT_EQ(watch.look(11'500), "");
  EXPECT_EQ(watch.look(13'400), "");
  EXPECT_THAT(watch.look(13'500), HasSubstr("for 2 s"));
}

TEST_F(SilenceWatchTest, ComputingIsASignOfLife) {
  keep_pulse(folder_ / "learner-0");
  now_doing("learns", 1'000);
  auto process = start("while :; do :; done");
  SilenceWatch watch(process.pid(), folder_ / "learner-0");
  EXPECT_EQ(watch.look(0), "");
  while (cpu_seconds(process.pid()) < 0.1) process.wait(10);

  EXPECT_EQ(watch.look(1'000), "");  // 0.1 s within one second
}

// As on a machine that is too busy to let it compute.
TEST_F(SilenceWatchTest, WaitingForAProcessorIsASignOfLife) {
  keep_pulse(folder_ / "learner-0");
  now_doing("learns", 1'000);
  auto process = start("while :; do :; done");
  SilenceWatch watch(process.pid(), folder_ / "learner-0");
  EXPECT_EQ(watch.look(0), "");
  EXPECT_EQ(watch.look(1'000'000), "");  // it has computed for a blink of that
  process.signal(SIGSTOP);
  while (is_runnable(process.pid())) process.wait(1);
  EXPECT_THAT(watch.look(2'000'000), HasSubstr("the last was: learns"));
}

TEST_F(SilenceWatchTest, AProcessThatNeverBeginsIsSilentToo) {
  auto process = asleep();
  SilenceWatch watch(process.pid(), folder_ / "none");
  EXPECT_EQ(watch.look(0), "");
  EXPECT_EQ(watch.look(49'000), "");
  EXPECT_THAT(watch.look(50'000), HasSubstr("the last was: nothing yet"));
}

}  // namespace
}  // namespace sluice::recipes::internal
