#include "actors/internal/policy_versions.h"

#include <algorithm>

#include "base/error.h"

namespace sluice::actors {
namespace {

constexpr size_t kMaxKnown = 64;  // far above the staleness of any recipe

}  // namespace

void PolicyVersions::map(Version& version) {
  try {
    version.mapped = std::make_shared<const transport::MappedWeights>(version.announcement);
    version.problem.clear();
  } catch (const EnvironmentError& error) {
    version.problem = error.what();
  }
}

void PolicyVersions::announce(const transport::WeightAnnouncement& announcement) {
  auto& version = versions_[announcement.version];
  // Told twice, as after a silence: what is mapped stays where it is.
  if (version.mapped != nullptr &&
      transport::encode_announcement(version.announcement) == transport::encode_announcement(announcement))
    return;
  version = {.announcement = announcement};
  map(version);
  while (versions_.size() > kMaxKnown) versions_.erase(versions_.begin());
}

std::shared_ptr<const transport::MappedWeights> PolicyVersions::find(const buffers::Lease& lease) {
  if (lease.exact_version) {
    const auto found = versions_.find(lease.version);
    if (found == versions_.end()) return nullptr;
    auto& version = found->second;
    if (version.mapped == nullptr) map(version);
    require<EnvironmentError>(version.mapped != nullptr, "group ", lease.group, ": ", version.problem);
    return version.mapped;
  }
  auto newest_mapped = newest();
  return newest_mapped != nullptr && newest_mapped->version() >= lease.version ? newest_mapped : nullptr;
}

bool PolicyVersions::is_gone(const buffers::Lease& lease) {
  const auto found = versions_.find(lease.version);
  if (!lease.exact_version || found == versions_.end() || found->second.mapped != nullptr) return false;
  map(found->second);
  const auto newest_mapped = newest();
  return found->second.mapped == nullptr && newest_mapped != nullptr &&
         newest_mapped->version() > lease.version;
}

std::shared_ptr<const transport::MappedWeights> PolicyVersions::newest() const {
  for (auto at = versions_.rbegin(); at != versions_.rend(); ++at) {
    // The newest may be gone when the next one is on its way here.
    if (at->second.mapped != nullptr) return at->second.mapped;
  }
  return nullptr;
}

void PolicyVersions::let_go(const std::set<int64_t>& wanted) {
  for (auto& [number, version] : versions_) {
    if (number != versions_.rbegin()->first && !wanted.contains(number)) version.mapped.reset();
  }
}

std::string PolicyVersions::describe() const {
  if (versions_.empty()) return "no version was announced";
  const auto& [number, newest] = *versions_.rbegin();
  const auto text =
      std::to_string(versions_.size()) + " were announced, the newest is " + std::to_string(number);
  return newest.problem.empty() ? text : text + " (" + newest.problem + ")";
}

}  // namespace sluice::actors
