#include "recipes/internal/silence_watch.h"

#include <sstream>

#include "base/cpu_time.h"
#include "base/pulse.h"

namespace sluice::recipes::internal {
std::string SilenceWatch::look(Millis now) {
  const auto pulse = read_pulse(pulse_);
  const auto beats = pulse ? pulse->beats : 0;
  const double cpu_s = cpu_seconds(pid_);
  const double silent_s = static_cast<double>(now - since_) / 1000.0;
  const bool over = now - since_ >= (pulse ? pulse->limit_ms : kSilentMs);
  const bool computed = cpu_s - cpu_s_ > kBusyShare * silent_s;
  if (since_ < 0 || beats != beats_ || (over && (computed || is_runnable(pid_)))) {
    since_ = now;
    beats_ = beats;
    cpu_s_ = cpu_s;
    return {};
  }
  if (!over) return {};
  std::ostringstream out;
  out << "has given no sign of life for " << (now - since_) / 1000
      << " s; the last was: " << (pulse ? pulse->doing : "nothing yet");
  return out.str();
}

}  // namespace sluice::recipes::internal
