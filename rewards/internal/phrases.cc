#include "rewards/internal/phrases.h"

#include <algorithm>

#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"
#include "rewards/internal/words.h"

namespace sluice::rewards::internal {

Phrases::Phrases(const RewardSpec& spec)
    : words_(option<std::vector<std::string>>(spec, "words", {})),
      ignore_case_(option<bool>(spec, "ignore_case", true)) {
  require<UsageError>(!words_.empty(), speaker(spec), ": `words` lists what is looked for, and is empty");
  for (auto word = words_.begin(); word != words_.end(); ++word) {
    require<UsageError>(!word->empty() && trim(*word) == *word, speaker(spec), ": words holds \"", *word,
                        "\"; a word has no blanks around it");
    if (ignore_case_) *word = lower(*word);
    require<UsageError>(std::find(words_.begin(), word, *word) == word, speaker(spec), ": words holds \"",
                        *word, "\" twice");
  }
}

int64_t Phrases::count_in(const std::string& text) const {
  const std::string lowered = ignore_case_ ? lower(text) : "";
  return std::ranges::count_if(
      words_, [&](const auto& word) { return holds_phrase(ignore_case_ ? lowered : text, word); });
}

}  // namespace sluice::rewards::internal
