// python: a function of a Python file, with TRL's or verl's signature, in a python3 of its own.
//
// The interpreter is the python3 on PATH, so that of an active environment. It runs adapter.py, which is part
// of this program.
#include "rewards/internal/scorers.h"
#include "rewards/plugins/process_reward.h"
#include "rewards/plugins/python_adapter.h"
#include "rewards/plugins/words.h"

namespace sluice::rewards::internal {

std::unique_ptr<RewardFunction> make_python(const RewardSpec& spec, const RewardResources&) {
  const auto [file, function] = plugins::split_function(option<std::string>(spec, "python", ""));
  const auto path = plugins::folder_of(spec) / file;
  require<UsageError>(std::filesystem::is_regular_file(path), speaker(spec), ": there is no file ",
                      path.string());
  const auto signature = option<std::string>(spec, "signature", "");
  require<UsageError>(signature.empty() || signature == "trl" || signature == "verl", speaker(spec),
                      ": signature is \"", signature, "\"; there are trl and verl");
  // The same order of sets and the like in every process, as the same seed is to give the same weights.
  return plugins::make_process_reward(
      spec, {"python3", "-c", plugins::kPythonAdapter, path.string(), function, signature},
      {{"PYTHONHASHSEED", "0"}});
}

}  // namespace sluice::rewards::internal
