#include "base/signals.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

namespace sluice {
namespace {

bool readable(int fd) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, 0) == 1;
}

TEST(StopSignals, TellsTheFirstSignalAndSwallowsTheRest) {
  StopSignals signals;
  EXPECT_EQ(signals.received(), 0);
  EXPECT_FALSE(readable(signals.fd()));

  ::kill(::getpid(), SIGTERM);
  EXPECT_TRUE(readable(signals.fd()));
  EXPECT_EQ(signals.received(), SIGTERM);

  ::kill(::getpid(), SIGINT);
  EXPECT_EQ(signals.received(), SIGTERM);
  EXPECT_FALSE(readable(signals.fd()));
}

TEST(StopSignals, LeavesSigpipeToTheOneWhoWrites) {
  const StopSignals signals;
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  ::close(ends[0]);

  EXPECT_EQ(::write(ends[1], "x", 1), -1);  // and the process still runs
  EXPECT_EQ(errno, EPIPE);
  ::close(ends[1]);
}

TEST(StopSignalsDeathTest, GivesSignalsTheirOrdinaryEffectBackAtItsEnd) {
  EXPECT_EXIT(
      {
        { const StopSignals signals; }
        ::raise(SIGTERM);
      },
      testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace sluice
