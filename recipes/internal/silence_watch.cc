#include "recipes/internal/silence_watch.h"

#include <unistd.h>

#include <fstream>
#include <sstream>

#include "base/pulse.h"

namespace sluice::recipes::internal {
double cpu_seconds(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string stat{std::istreambuf_iterator<char>(file), {}};
  // pid (name) state and ten fields more, then the ticks in user mode and in the kernel: proc(5).
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return 0;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

std::string SilenceWatch::look(Millis now) {
  const auto pulse = read_pulse(pulse_);
  const auto beats = pulse ? pulse->beats : 0;
  const double cpu_s = cpu_seconds(pid_);
  const double silent_s = static_cast<double>(now - since_) / 1000.0;
  const bool over = now - since_ >= (pulse ? pulse->limit_ms : kSilentMs);
  const bool computed = cpu_s - cpu_s_ > kBusyShare * silent_s;
  if (since_ < 0 || beats != beats_ || (over && computed)) {
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
