#include "base/captured_run.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "base/error.h"

namespace sluice {
namespace {

TEST(CapturedRun, KeepsWhatAProgramWroteAndHowItEnded) {
  const auto run = run_captured({.command = {"sh", "-c", "echo out; echo err >&2; exit 3"}}, {});
  EXPECT_EQ(run.output, "out\n");
  EXPECT_EQ(run.errors, "err\n");
  EXPECT_EQ(describe(run.status.value()), "exit 3");
}

TEST(CapturedRun, KeepsAllThatWasWrittenBeforeTheEnd) {
  const auto run = run_captured({.command = {"sh", "-c", "head -c 300000 /dev/zero"}}, {});
  EXPECT_EQ(run.output.size(), 300'000u);
}

TEST(CapturedRun, EndsAtItsLimits) {
  const auto late = run_captured({.command = {"sh", "-c", "echo a; sleep 1000"}}, {.wall_ms = 200});
  EXPECT_TRUE(late.timed_out);
  EXPECT_EQ(late.status, std::nullopt);
  EXPECT_EQ(late.output, "a\n");

  const auto loud = run_captured({.command = {"yes"}}, {.wall_ms = 20'000, .output_bytes = 1000});
  EXPECT_TRUE(loud.wrote_too_much);
  EXPECT_FALSE(loud.timed_out);
  EXPECT_EQ(loud.output.size(), 1000u);
}

TEST(CapturedRun, EndsSoonAfterItWasInterrupted) {
  std::atomic<bool> interrupted = false;
  std::jthread other([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    interrupted = true;
  });
  const SteadyClock clock;
  const Millis began_ms = clock.now_ms();

  const auto run = run_captured({.command = {"sh", "-c", "echo a; sleep 1000"}},
                                {.wall_ms = 900'000, .interrupted = &interrupted});

  EXPECT_LT(clock.now_ms() - began_ms, 20'000);
  EXPECT_TRUE(run.interrupted);
  EXPECT_FALSE(run.timed_out);
  EXPECT_EQ(run.status, std::nullopt);
  EXPECT_EQ(run.output, "a\n");
}

TEST(CapturedRun, GoesOnWhenTheProgramClosesItsOutput) {
  EXPECT_TRUE(run_captured({.command = {"sh", "-c", "exec >&- 2>&-; sleep 0.1"}}, {}).status->ok());
}

TEST(CapturedRun, SaysThatAProgramIsNotThere) {
  EXPECT_THROW(run_captured({.command = {"sluice-no-such-program"}}, {}), EnvironmentError);
}

TEST(CapturedRun, HasTheWordsThatCameBeforeTooMuchOutput) {
  const auto run = run_captured({.command = {"sh", "-c", "echo begun >&2; exec head -c 1000000 /dev/zero"}},
                                {.output_bytes = 1000});

  EXPECT_TRUE(run.wrote_too_much);
  EXPECT_EQ(run.errors, "begun\n");
}

}  // namespace
}  // namespace sluice
