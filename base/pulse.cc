#include "base/pulse.h"

#include <fcntl.h>
#include <unistd.h>

#include <ctime>
#include <iomanip>
#include <mutex>
#include <sstream>

#include "base/byte_codec.h"
#include "base/error.h"
#include "base/files.h"
#include "base/internal/posix.h"

namespace sluice {
namespace {

using internal::retry;

constexpr size_t kMostBytes = 240;  // of what is being done

struct Keeper {
  std::mutex mutex;
  internal::UniqueFd fd;  // guarded by mutex, as all below
  Pulse pulse;
  Millis beat_at = 0;
  double cpu_s = 0;  // that the process had used then
};

Keeper& keeper() {
  static Keeper instance;
  return instance;
}

double cpu_seconds() {
  timespec used = {};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

thread_local SidePulse* side_pulse = nullptr;  // of this thread, where it has one

// Over what was there, in one call.
void write(Keeper& keeper) {
  keeper.beat_at = SteadyClock().now_ms();
  keeper.cpu_s = cpu_seconds();
  if (!keeper.fd.valid()) return;
  ByteWriter out;
  out.u64(keeper.pulse.beats);
  out.i64(keeper.pulse.limit_ms);
  out.bytes(keeper.pulse.doing);
  const auto bytes = out.take();
  // A sign of life that cannot be written is one that is not seen: the watchdog says so.
  (void)retry([&] { return ::pwrite(keeper.fd.get(), bytes.data(), bytes.size(), 0); });
}

}  // namespace

void keep_pulse(const std::filesystem::path& file) {
  auto& keep = keeper();
  const std::lock_guard lock(keep.mutex);
  keep.fd = internal::UniqueFd(
      retry([&] { return ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644); }));
  require<EnvironmentError>(keep.fd.valid(), file.string(),
                            ": cannot be made: ", internal::errno_text(errno));
  keep.pulse = {.limit_ms = kSilentMs, .doing = "starts"};
  write(keep);
}

void now_doing(std::string_view what, Millis limit_ms) {
  if (side_pulse != nullptr) {
    const std::lock_guard lock(side_pulse->mutex_);
    Pulse& pulse = side_pulse->pulse_;
    pulse = {.beats = pulse.beats + 1, .limit_ms = limit_ms, .doing = std::string(what)};
    return;
  }
  auto& keep = keeper();
  const std::lock_guard lock(keep.mutex);
  keep.pulse.doing = what.substr(0, kMostBytes);
  keep.pulse.limit_ms = limit_ms;
  ++keep.pulse.beats;
  write(keep);
}

void beat() {
  if (side_pulse != nullptr) {
    const std::lock_guard lock(side_pulse->mutex_);
    ++side_pulse->pulse_.beats;
    return;
  }
  auto& keep = keeper();
  const std::lock_guard lock(keep.mutex);
  ++keep.pulse.beats;
  write(keep);
}

std::string doing() {
  auto& keep = keeper();
  const std::lock_guard lock(keep.mutex);
  return keep.pulse.doing;
}

std::string describe_pulse() {
  auto& keep = keeper();
  const std::lock_guard lock(keep.mutex);
  std::ostringstream out;
  out << keep.pulse.doing << "; the last sign of life was " << std::fixed << std::setprecision(1)
      << static_cast<double>(SteadyClock().now_ms() - keep.beat_at) / 1000.0 << " s ago";
  return out.str();
}

bool is_overdue() {
  auto& keep = keeper();
  const std::lock_guard lock(keep.mutex);
  const Millis silent_ms = SteadyClock().now_ms() - keep.beat_at;
  if (keep.pulse.limit_ms == 0 || silent_ms < keep.pulse.limit_ms) return false;
  return cpu_seconds() - keep.cpu_s <= kBusyShare * static_cast<double>(silent_ms) / 1000.0;
}

void SidePulse::adopt() { side_pulse = this; }

Pulse SidePulse::now() const {
  const std::lock_guard lock(mutex_);
  return pulse_;
}

std::optional<Pulse> read_pulse(const std::filesystem::path& file) {
  try {
    const auto bytes = read_file(file, /*max_bytes=*/4096);
    ByteReader in(bytes, file.string());
    Pulse pulse;
    pulse.beats = in.u64();
    pulse.limit_ms = in.i64();
    pulse.doing = in.bytes();
    return pulse;  // an earlier, longer one may stand behind it
  } catch (const DataError&) {
    return std::nullopt;
  }
}

}  // namespace sluice
