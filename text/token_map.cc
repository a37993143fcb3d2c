#include "text/token_map.h"

#include <algorithm>
#include <string_view>

#include "base/error.h"

namespace sluice::text {
namespace {

constexpr int kMaxSteps = 64;  // characters on either side of a place that one token is looked for in

bool inside_character(std::string_view text, size_t byte) {
  return byte < text.size() && (static_cast<unsigned char>(text[byte]) & 0xC0) == 0x80;
}

}  // namespace

TokenMap::TokenMap(const Tokenizer& tokenizer, std::string text)
    : tokenizer_(tokenizer), text_(std::move(text)), ids_(tokenizer_.encode(text_)) {}

bool TokenMap::ends_at(size_t byte, size_t& count) const {
  const auto before = tokenizer_.encode(std::string_view(text_).substr(0, byte));
  count = before.size();
  return count <= ids_.size() && std::equal(before.begin(), before.end(), ids_.begin());
}

const TokenMap::Cut& TokenMap::cut(size_t byte) {
  require(byte <= text_.size(), "TokenMap: byte ", byte, " of ", text_.size());
  const auto [place, is_new] = cuts_.try_emplace(byte);
  Cut& cut = place->second;
  if (!is_new) return cut;
  if (byte == 0) return cut;
  cut = {byte == text_.size() ? ids_.size() : 0, ids_.size()};  // what is known of a place in any text
  if (cut.ended == cut.begun) return cut;
  size_t left = byte, right = byte;
  for (int i = 0; i <= kMaxSteps && !ends_at(left, cut.ended); ++i) {
    cut.ended = 0;
    if (left == 0) break;
    while (inside_character(text_, --left)) {
    }
  }
  if (left == byte) {
    cut.begun = cut.ended;
    return cut;
  }
  for (int i = 0; i < kMaxSteps && right < text_.size(); ++i) {
    while (inside_character(text_, ++right)) {
    }
    if (ends_at(right, cut.begun)) return cut;
    cut.begun = ids_.size();
  }
  return cut;
}

size_t TokenMap::begun_before(size_t byte) {
  const auto [ended, begun] = cut(byte);
  require<DataError>(begun - ended <= 1, "tokenizer: no token begins or ends at byte ", byte,
                     " of a text, and ", begun - ended, " lie around it");
  return begun;
}

TokenRange TokenMap::beginning_in(const ByteRange& range) {
  return {begun_before(range.first), begun_before(range.second)};
}

TokenRange TokenMap::touching(const ByteRange& range) {
  return {cut(range.first).ended, cut(range.second).begun};
}

}  // namespace sluice::text
