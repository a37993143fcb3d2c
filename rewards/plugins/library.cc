// library: a shared library with the C interface of include/sluice_reward.h, in a process of this program
// that loads nothing else.
#include "base/subprocess.h"
#include "rewards/internal/scorers.h"
#include "rewards/plugins/process_reward.h"

namespace sluice::rewards::internal {

std::unique_ptr<RewardFunction> make_library(const RewardSpec& spec, const RewardResources&) {
  const auto path = plugins::folder_of(spec) / option<std::string>(spec, "library", "");
  require<UsageError>(std::filesystem::is_regular_file(path), speaker(spec), ": there is no file ",
                      path.string());
  return plugins::make_process_reward(spec, {own_executable().string(), "reward-worker", path.string()});
}

}  // namespace sluice::rewards::internal
