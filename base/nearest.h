// What was probably meant by a word that is not known.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sluice {

int64_t edit_distance(std::string_view a, std::string_view b);

// Whether somebody may have left out the rest of it: `--out` of --output, `mean_length` of
// completions/mean_length.
bool is_short_for(std::string_view word, std::string_view candidate);

// The candidate nearest to `word` by edit distance, else one that it is short for; the first of several, or
// "" when none is near.
template <class Range>
std::string nearest(std::string_view word, const Range& candidates) {
  std::string best;
  int64_t best_distance = 1 + static_cast<int64_t>(word.size()) / 3;
  for (const auto& candidate : candidates) {
    const int64_t distance = edit_distance(word, candidate);
    if (distance <= best_distance && (best.empty() || distance < best_distance)) {
      best = std::string(candidate);
      best_distance = distance;
    }
  }
  if (!best.empty()) return best;
  for (const auto& candidate : candidates) {
    if (is_short_for(word, candidate)) return std::string(candidate);
  }
  return "";
}

// The end of a message about an unknown word: `; did you mean "lr"?`, or `otherwise` when none is near.
template <class Range>
std::string did_you_mean(std::string_view word, const Range& candidates, std::string otherwise = {}) {
  const std::string best = nearest(word, candidates);
  return best.empty() ? otherwise : "; did you mean \"" + best + "\"?";
}

}  // namespace sluice
