// library: a shared library with the C interface of include/sluice_reward.h, in a process of this program
// that loads nothing else.
#include <link.h>

#include <set>

#include "base/subprocess.h"
#include "rewards/internal/scorers.h"
#include "rewards/plugins/process_reward.h"

namespace sluice::rewards::internal {
namespace {

namespace fs = std::filesystem;

// Folders of what this program has loaded from outside /usr, which a sandbox has to show it as well.
std::set<std::string> folders_of_own_libraries() {
  std::set<std::string> folders;
  const auto add = [](dl_phdr_info* info, size_t, void* found) {
    const fs::path library = info->dlpi_name;
    const auto folder = library.parent_path().string();
    const bool apart = library.is_absolute() && !folder.starts_with("/usr") && !folder.starts_with("/lib");
    if (apart) static_cast<std::set<std::string>*>(found)->insert(folder);
    return 0;
  };
  ::dl_iterate_phdr(add, &folders);
  return folders;
}

}  // namespace

std::unique_ptr<RewardFunction> make_library(const RewardSpec& spec, const RewardResources&) {
  const auto path = plugins::folder_of(spec) / option<std::string>(spec, "library", "");
  require<UsageError>(fs::is_regular_file(path), speaker(spec), ": there is no file ", path.string());
  auto readable = option<std::vector<std::string>>(spec, "readable", {});
  readable.push_back(path.string());
  for (const auto& folder : folders_of_own_libraries()) readable.push_back(folder);
  auto with_own = spec;
  with_own.options["readable"] = readable;
  return plugins::make_process_reward(with_own, {own_executable().string(), "reward-worker", path.string()});
}

}  // namespace sluice::rewards::internal
