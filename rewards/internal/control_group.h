// Control groups (v2): what all processes of a sandbox use together, bounded by the kernel, where somebody
// has left this process a place to make them.
//
// That place is the group that SLUICE_CGROUP names, or the one above this process's own where the service
// manager has delegated it (systemd's Delegate= with DelegateSubgroup=); no process is in it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sluice::rewards::internal {

struct ControlGroups {
  std::filesystem::path place;  // empty: there is none
  std::string why_not;          // then
};
// Looked for once.
const ControlGroups& control_groups();

// The same with the files of the system in other places; `named` is SLUICE_CGROUP or empty.
ControlGroups find_control_groups(const std::string& named, const std::filesystem::path& own_groups,
                                  const std::filesystem::path& mount);

// Words to stand before a command, which put it and all that it starts into a new group at the place. The
// groups of those that have ended are removed on the way.
std::vector<std::string> control_group_words(const std::filesystem::path& place, uint64_t memory_bytes,
                                             int64_t processes);

}  // namespace sluice::rewards::internal
