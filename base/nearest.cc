#include "base/nearest.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace sluice {

// Levenshtein's distance, one row of the table at a time.
int64_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<int64_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i) + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const int64_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

bool is_short_for(std::string_view word, std::string_view candidate) {
  constexpr size_t kFew = 3;  // fewer letters are short for anything
  if (word.size() < kFew || word.size() >= candidate.size()) return false;
  if (candidate.starts_with(word)) return true;
  constexpr std::string_view kBetweenWords = "/_.-";
  const char before = candidate[candidate.size() - word.size() - 1];
  return candidate.ends_with(word) && kBetweenWords.find(before) != std::string_view::npos;
}

}  // namespace sluice
