// Completions of known score, scored again now and then: where a score moves, the reward has changed under
// the run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rewards/reward_mix.h"

namespace sluice::rewards {

class Canaries {
 public:
  Canaries() = default;  // none
  // JSON lines of `prompt` (text or messages), `completion`, the columns that scorers read, and `scores`: an
  // object of what each of `scorers` is known to say, by name. They are scored with one group of `every`.
  // Throws DataError naming file and line.
  Canaries(const std::filesystem::path& file, int64_t every, const std::vector<std::string>& scorers);

  bool due(uint64_t group) const { return !rows_.empty() && group % every_ == 0; }

  // By how much each of the mix's scores is off where it is off most; nothing where there was none to
  // compare. What a line does not know of a scorer is what it says the first time.
  std::vector<std::optional<double>> errors(const RewardMix& mix);

 private:
  struct Canary {
    text::Row row;
    std::string completion;
    std::map<std::string, double> scores;
  };

  std::vector<Canary> rows_;
  uint64_t every_ = 1;
};

}  // namespace sluice::rewards
