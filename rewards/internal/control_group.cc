#include "rewards/internal/control_group.h"

#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <mutex>
#include <utility>

#include "base/clock.h"

namespace sluice::rewards::internal {
namespace {

namespace fs = std::filesystem;

constexpr Millis kEnteredMs = 10'000;  // what has begun is in its group by then
constexpr const char* kGroup = "sluice-";
// $1 is the group, $2 the bytes, $3 the processes. Without its bounds nothing runs.
constexpr const char* kEnter =
    "mkdir \"$1\" && echo \"$2\" > \"$1/memory.max\" && echo \"$3\" > \"$1/pids.max\" && "
    "echo 1 > \"$1/memory.oom.group\" && echo $$ > \"$1/cgroup.procs\" || exit 125\n"
    "[ ! -e \"$1/memory.swap.max\" ] || echo 0 > \"$1/memory.swap.max\"\n"
    "shift 3; exec \"$@\"";

bool holds_both(const fs::path& file) {
  std::ifstream in(file);
  bool memory = false, pids = false;
  for (std::string word; in >> word;) {
    memory |= word == "memory";
    pids |= word == "pids";
  }
  return memory && pids;
}

// Why nothing can be made there; "" when it can.
std::string problem_of(const fs::path& place) {
  const auto control = place / "cgroup.subtree_control";
  if (!fs::is_directory(place)) return place.string() + " is no folder";
  if (::access(place.c_str(), W_OK) != 0) return place.string() + " is not to be written to";
  if (!holds_both(control)) std::ofstream(control) << "+memory +pids";
  if (!holds_both(control)) return control.string() + " does not come to have memory and pids";
  return "";
}

bool is_delegated(const fs::path& group) {
  char value = 0;
  return ::getxattr(group.c_str(), "user.delegate", &value, 1) == 1 && value == '1';
}

// The group of this process in the one hierarchy of version 2; empty without it.
std::string own_group(const fs::path& own_groups) {
  std::ifstream in(own_groups);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("0::")) return line.substr(3);
  }
  return "";
}

void remove_ended(const fs::path& place) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(place, error)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with(kGroup)) continue;
    const auto pid = std::strtol(name.c_str() + std::string_view(kGroup).size(), nullptr, 10);
    if (!fs::exists("/proc/" + std::to_string(pid))) ::rmdir(entry.path().c_str());
  }
}

// Groups of this process, the oldest first.
struct Made {
  std::mutex mutex;
  std::deque<std::pair<fs::path, Millis>> groups;  // with when they were; guarded by mutex
};

fs::path new_group(const fs::path& place) {
  static Made made;
  static std::atomic<uint64_t> count = 0;
  const Millis now_ms = SteadyClock().now_ms();
  const std::lock_guard lock(made.mutex);
  // A folder with processes in it stays, and is tried again.
  std::erase_if(made.groups, [&](const auto& one) {
    return one.second + kEnteredMs < now_ms && (::rmdir(one.first.c_str()) == 0 || !fs::exists(one.first));
  });
  made.groups.emplace_back(place / (kGroup + std::to_string(::getpid()) + "-" + std::to_string(++count)),
                           now_ms);
  return made.groups.back().first;
}

}  // namespace

ControlGroups find_control_groups(const std::string& named, const fs::path& own_groups,
                                  const fs::path& mount) {
  fs::path place = named;
  if (place.empty()) {
    const auto own = own_group(own_groups);
    if (own.empty() || own == "/") return {{}, "none is delegated, and SLUICE_CGROUP names none"};
    place = (mount / fs::path(own).relative_path()).parent_path();
    if (!is_delegated(place)) return {{}, place.string() + " is not delegated, and SLUICE_CGROUP names none"};
  }
  const auto problem = problem_of(place);
  if (!problem.empty()) return {{}, problem};
  remove_ended(place);
  return {place, ""};
}

const ControlGroups& control_groups() {
  static const ControlGroups found = [] {
    const char* named = std::getenv("SLUICE_CGROUP");
    return find_control_groups(named == nullptr ? "" : named, "/proc/self/cgroup", "/sys/fs/cgroup");
  }();
  return found;
}

std::vector<std::string> control_group_words(const fs::path& place, uint64_t memory_bytes,
                                             int64_t processes) {
  return {"sh",
          "-c",
          kEnter,
          "sh",
          new_group(place).string(),
          std::to_string(memory_bytes),
          std::to_string(processes)};
}

}  // namespace sluice::rewards::internal
