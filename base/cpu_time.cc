#include "base/cpu_time.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace sluice {

namespace {

// What proc(5) has in `stat` behind the pid and the (name): the state, then numbers. Empty when it is gone.
std::istringstream fields_of(const std::filesystem::path& process) {
  std::ifstream file(process / "stat");
  const std::string stat{std::istreambuf_iterator<char>(file), {}};
  const auto name_end = stat.rfind(')');
  return std::istringstream(name_end == std::string::npos ? "" : stat.substr(name_end + 1));
}

std::filesystem::path folder_of(pid_t pid) { return "/proc/" + std::to_string(pid); }

}  // namespace

bool is_runnable(pid_t pid) {
  std::error_code gone;
  for (std::filesystem::directory_iterator task(folder_of(pid) / "task", gone), end; !gone && task != end;
       task.increment(gone)) {
    std::string state;
    if (fields_of(task->path()) >> state && state == "R") return true;
  }
  return false;
}

double cpu_seconds(pid_t pid) {
  // The state and ten fields more, then the ticks in user mode and in the kernel.
  auto fields = fields_of(folder_of(pid));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

}  // namespace sluice
