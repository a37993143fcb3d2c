// Lists of words or phrases, as keyword and blocklist look for them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rewards/reward.h"

namespace sluice::rewards::internal {

class Phrases {
 public:
  // The options `words` and `ignore_case` (true unless given: of the letters a to z). Throws UsageError for
  // an empty list, an empty word and one that stands twice.
  explicit Phrases(const RewardSpec& spec);

  const std::vector<std::string>& words() const { return words_; }
  // How many of them stand in `text` as whole words.
  int64_t count_in(const std::string& text) const;

 private:
  std::vector<std::string> words_;
  bool ignore_case_;
};

}  // namespace sluice::rewards::internal
