#include "base/captured_run.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>

#include "base/error.h"
#include "base/internal/posix.h"
#include "base/pipe.h"

namespace sluice {
namespace {

using internal::retry;

constexpr size_t kChunk = 64u << 10;
constexpr Millis kLookMs = 100;  // between two looks at `interrupted`

// One of the program's streams: what came of it so far.
class Stream {
 public:
  // Lends the pipe's end to the start unless something else has been lent.
  explicit Stream(int& lent) : is_open_(lent < 0) {
    if (!is_open_) return;
    lent = pipe_.write_end();
    ::fcntl(pipe_.read_end(), F_SETFL, O_NONBLOCK);
  }

  void started() { pipe_.close_write(); }
  pollfd entry() const { return {.fd = is_open_ ? pipe_.read_end() : -1, .events = POLLIN, .revents = 0}; }

  // Takes what is there; false when that is more than `max_bytes` in all.
  bool read(uint64_t max_bytes) {
    std::array<char, kChunk> chunk;
    while (is_open_) {
      const ssize_t n = retry([&] { return ::read(pipe_.read_end(), chunk.data(), chunk.size()); });
      if (n < 0) return true;  // nothing more for now
      if (n == 0) is_open_ = false;
      const size_t kept = std::min<size_t>(static_cast<size_t>(n), max_bytes - text_.size());
      text_.append(chunk.data(), kept);
      if (kept < static_cast<size_t>(n)) return false;
    }
    return true;
  }

  std::string take() { return std::move(text_); }

 private:
  Pipe pipe_;
  bool is_open_;
  std::string text_;
};

// Waits for the end of the child, for output or for the deadline.
void wait_for(const Subprocess& child, const Stream& output, const Stream& errors, Millis left_ms) {
  std::array<pollfd, 3> entries = {
      output.entry(), errors.entry(), {.fd = child.pidfd(), .events = POLLIN, .revents = 0}};
  const auto timeout = std::clamp<Millis>(left_ms, 0, std::numeric_limits<int>::max());
  const int ready = ::poll(entries.data(), entries.size(), static_cast<int>(timeout));
  require(ready >= 0 || errno == EINTR, "run_captured: poll failed: ", internal::errno_text(errno));
}

}  // namespace

CapturedRun run_captured(SubprocessOptions options, const CaptureLimits& limits) {
  Stream output(options.stdout_fd), errors(options.stderr_fd);
  const SteadyClock clock;
  const Millis deadline_ms = clock.now_ms() + limits.wall_ms;
  auto child = Subprocess::start(options);
  output.started();
  errors.started();

  CapturedRun run;
  while (!run.status && !run.timed_out && !run.wrote_too_much && !run.interrupted) {
    const Millis left_ms = deadline_ms - clock.now_ms();
    wait_for(child, output, errors, limits.interrupted != nullptr ? std::min(left_ms, kLookMs) : left_ms);
    // Asked before the last read: what it wrote before it ended is there by then.
    run.status = child.wait(0);
    const bool output_fits = output.read(limits.output_bytes);
    const bool errors_fit = errors.read(limits.output_bytes);  // also where the other does not
    run.wrote_too_much = !output_fits || !errors_fit;
    run.timed_out = !run.status && clock.now_ms() >= deadline_ms;
    run.interrupted = !run.status && limits.interrupted != nullptr && *limits.interrupted;
  }
  if (run.wrote_too_much) run.status.reset();
  if (!run.status) child.stop(/*grace_ms=*/0);
  run.output = output.take();
  run.errors = errors.take();
  return run;
}

}  // namespace sluice
