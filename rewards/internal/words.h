// The words of a text, in any language.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sluice::rewards::internal {

enum class Marks { Keep, Drop };

// Runs of the letters a to z and digits in lower case; every character beyond ASCII by itself, since nothing
// here knows where its words end; with Keep, punctuation too, each mark by itself.
std::vector<std::string> words_in(std::string_view text, Marks marks);

// Whether `phrase` stands in `text` with no letter, digit or character beyond ASCII right beside its own.
bool holds_phrase(std::string_view text, std::string_view phrase);

// Numbers for words, the same for the same word.
class WordIds {
 public:
  std::vector<int32_t> of(const std::vector<std::string>& words);

 private:
  std::unordered_map<std::string, int32_t> ids_;
};

}  // namespace sluice::rewards::internal
