#include "recipes/internal/reward_pairs.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/error.h"
#include "learner/preference_tokens.h"
#include "text/preference_rows.h"

namespace sluice::recipes::internal {
namespace {

sft::ComparedPair pair_of(const text::PreferenceRow& row, const text::Tokenizer& tokenizer,
                          const text::ChatTemplate* chat) {
  auto whole =
      learner::tokenize_preference(row, tokenizer, chat, {.max_length = std::numeric_limits<int64_t>::max()})
          .value();  // nothing is cut
  return {.prompt = std::move(whole.prompt),
          .chosen = std::move(whole.completions[0].tokens),
          .rejected = std::move(whole.completions[1].tokens),
          .margin = row.margin};
}

}  // namespace

PairsFound read_pairs(const StageSpec& stage, const std::filesystem::path& file,
                      const text::Tokenizer& tokenizer, const text::ChatTemplate* chat) {
  PairsFound found;
  for (const auto& row : text::read_preferences(file, text::PreferenceColumns::Pairs)) {
    auto pair = pair_of(row, tokenizer, chat);
    const auto length =
        std::ssize(pair.prompt) + std::max(std::ssize(pair.chosen), std::ssize(pair.rejected));
    if (length > stage.batch.max_length) {
      ++found.dropped;
      continue;
    }
    found.longest = std::max<int64_t>(found.longest, length);
    found.pairs.push_back(std::move(pair));
  }
  require<DataError>(!found.pairs.empty(), file.string(),
                     ": no pair fits batch.max_length = ", stage.batch.max_length);
  return found;
}

}  // namespace sluice::recipes::internal
