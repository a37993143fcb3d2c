#include "base/terminal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pty.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <limits>
#include <vector>

#include "base/internal/progress_text.h"

namespace sluice {
namespace {

using internal::one_line;
using internal::progress_text;

TEST(Format, Seconds) {
  EXPECT_EQ(format_seconds(0), "0.0s");
  EXPECT_EQ(format_seconds(3.21), "3.2s");
  EXPECT_EQ(format_seconds(59.94), "59.9s");
  EXPECT_EQ(format_seconds(59.96), "1m 00s");
  EXPECT_EQ(format_seconds(65), "1m 05s");
  EXPECT_EQ(format_seconds(3599.6), "1h 00m");
  EXPECT_EQ(format_seconds(7500), "2h 05m");
  EXPECT_EQ(format_seconds(86400 * 3 + 3600 * 4), "3d 04h");
  EXPECT_EQ(format_seconds(-1), "?");
  EXPECT_EQ(format_seconds(std::numeric_limits<double>::infinity()), "?");
}

TEST(Format, Bytes) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999), "999 B");
  EXPECT_EQ(format_bytes(1000), "1.0 kB");
  EXPECT_EQ(format_bytes(1'500'000), "1.5 MB");
  EXPECT_EQ(format_bytes(999'960), "1.0 MB");
  EXPECT_EQ(format_bytes(std::numeric_limits<uint64_t>::max()), "18.4 EB");
}

TEST(Format, Counts) {
  EXPECT_EQ(format_count(0), "0");
  EXPECT_EQ(format_count(999), "999");
  EXPECT_EQ(format_count(12'345), "12,345");
  EXPECT_EQ(format_count(-123'456), "-123,456");
  EXPECT_EQ(format_count(-999), "-999");
  EXPECT_EQ(format_count(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(ProgressText, ShowsShareRateAndTimeLeft) {
  // 1500 in 30 s are 50 a second; 4500 more need 90 s.
  EXPECT_EQ(progress_text("tokenizing", 1500, 6000, 30'000, "shard 2"),
            "tokenizing  1,500/6,000 (25%)  50.0/s  1m 30s left  shard 2");
  EXPECT_EQ(progress_text("tokenizing", 6000, 6000, 120'000, ""), "tokenizing  6,000/6,000 (100%)  50.0/s");
}

TEST(ProgressText, LeavesOutWhatItDoesNotKnow) {
  EXPECT_EQ(progress_text("reading", 1500, 0, 30'000, ""), "reading  1,500  50.0/s");
  EXPECT_EQ(progress_text("reading", 0, 10, 0, ""), "reading  0/10 (0%)");
  EXPECT_EQ(progress_text("reading", 12, 10, 0, ""), "reading  12/10 (100%)");
}

TEST(ProgressText, FitsOneLineWhateverTheDetail) {
  EXPECT_EQ(one_line("a\x1b[2Jb\r\n", 100), "a?[2Jb??");
  EXPECT_EQ(one_line("h\xC3\xA9llo", 3), "h\xC3\xA9l");
  EXPECT_EQ(one_line("abc", 0), "");
}

// Runs `draw` in a process whose stderr is `fd`; returns its exit status.
template <class Draw>
int with_stderr(int fd, Draw draw) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(fd, STDERR_FILENO);
    draw();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return status;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = ::read(fd, buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<size_t>(n));
  }
  return text;
}

struct Terminal {
  Terminal() {
    const winsize size{.ws_row = 24, .ws_col = 30, .ws_xpixel = 0, .ws_ypixel = 0};
    EXPECT_EQ(::openpty(&ours, &theirs, nullptr, nullptr, &size), 0);
  }
  ~Terminal() { ::close(ours); }
  int ours = -1;
  int theirs = -1;
};

TEST(ProgressLine, RewritesOneLineOnATerminal) {
  const Terminal terminal;
  with_stderr(terminal.theirs, [] {
    ::setenv("TERM", "xterm", 1);
    ProgressLine line("counting", 1000);
    for (int64_t i = 0; i <= 1000; ++i) line.update(i, "a detail that is far too long");
  });
  ::close(terminal.theirs);
  const auto text = read_all(terminal.ours);

  EXPECT_THAT(text, testing::StartsWith("\r\x1b[Kcounting  0/1,000 (0%)"));
  EXPECT_THAT(text, testing::HasSubstr("1,000/1,000"));
  EXPECT_THAT(text, testing::EndsWith("\r\x1b[K"));
  EXPECT_THAT(text, testing::Not(testing::HasSubstr("\n")));
  // The first, the last and those that came due: ten a second, never a thousand.
  EXPECT_LT(text.size(), 2000u);
}

TEST(ProgressLine, SaysNothingOfShortWorkInALog) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  with_stderr(ends[1], [] {
    ProgressLine line("counting", 1000);
    for (int64_t i = 0; i <= 1000; ++i) line.update(i);
  });
  ::close(ends[1]);

  EXPECT_EQ(read_all(ends[0]), "");
  ::close(ends[0]);
}

TEST(Interactive, IsATerminalThatCanMoveItsCursor) {
  const Terminal terminal;
  const auto answer = [&](const char* term, const char* no_colour) {
    const int status = with_stderr(terminal.theirs, [&] {
      ::setenv("TERM", term, 1);
      no_colour != nullptr ? ::setenv("NO_COLOR", no_colour, 1) : ::unsetenv("NO_COLOR");
      ::_exit((is_interactive(STDERR_FILENO) ? 1 : 0) + (use_colour(STDERR_FILENO) ? 2 : 0));
    });
    return WEXITSTATUS(status);
  };
  EXPECT_EQ(answer("xterm-256color", nullptr), 3);
  EXPECT_EQ(answer("xterm-256color", "1"), 1);
  EXPECT_EQ(answer("dumb", nullptr), 0);
  ::close(terminal.theirs);

  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  EXPECT_FALSE(is_interactive(ends[1]));
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace sluice
