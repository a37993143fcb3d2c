#include <algorithm>

#include "text/internal/spelling.h"
#include "text/tokenizer.h"

namespace sluice::text {
namespace {

constexpr std::string_view kReplacement = "\uFFFD";
constexpr size_t kMaxBytesHeld = 3;  // of a character that is not complete

}  // namespace

StreamingDecoder::StreamingDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto id = tokenizer.find(internal::byte_token(static_cast<unsigned char>(byte)));
    if (id) byte_ids_.push_back(*id);
  }
  std::sort(byte_ids_.begin(), byte_ids_.end());
}

std::string StreamingDecoder::push(TokenId id) {
  const std::span<const TokenId> one(&id, 1);
  // A token that decodes to nothing wherever it stands is as if it had not come.
  if (tokenizer_.decode(one).empty() && !tokenizer_.decode(one, /*keep_specials=*/true).empty()) return "";
  window_.push_back(id);
  // What bytes are is not known before their run has ended: one that fits nowhere spoils those before it.
  if (std::binary_search(byte_ids_.begin(), byte_ids_.end(), id)) return "";

  const std::string text = tokenizer_.decode(window_);
  const bool incomplete = text.ends_with(kReplacement);
  const size_t end = text.size() - (incomplete ? kReplacement.size() : 0);
  std::string out = text.substr(std::min(emitted_, end), end - std::min(emitted_, end));
  // The tokens that what follows can change, and one before them. Without any text they are no context: a
  // model that takes spaces away from the begin would take those that follow too.
  size_t keep = std::min(incomplete ? kMaxBytesHeld + 1 : 1, window_.size());
  std::string rest = tokenizer_.decode(std::span(window_).last(keep));
  while (rest.empty() && keep < window_.size()) {
    keep = std::min(2 * keep, window_.size());
    rest = tokenizer_.decode(std::span(window_).last(keep));
  }
  window_.erase(window_.begin(), window_.end() - static_cast<std::ptrdiff_t>(keep));
  const bool held = incomplete && rest.ends_with(kReplacement);
  emitted_ = rest.size() - (held ? kReplacement.size() : 0);
  return out;
}

std::string StreamingDecoder::finish() {
  std::string text = tokenizer_.decode(window_);
  text.erase(0, emitted_);
  window_.clear();
  emitted_ = 0;
  return text;
}

}  // namespace sluice::text
