#include "text/tokenizer_json/vocabulary.h"

#include "base/error.h"
#include "text/internal/spelling.h"

namespace sluice::text::internal {
namespace {

constexpr int64_t kMaxIds = 1 << 24;
constexpr int64_t kAnyHoles = 1024;  // a vocabulary may have so many, however small it is

}  // namespace

void Vocabulary::add(const std::string& token, int64_t id, const std::string& where) {
  require<DataError>(id >= 0 && id < kMaxIds, where, ": the id ", id, " of ", quoted(token), " is not in 0..",
                     kMaxIds - 1);
  const auto index = static_cast<size_t>(id);
  if (index >= tokens_.size()) tokens_.resize(index + 1, nullptr);
  require<DataError>(tokens_[index] == nullptr, where, ": the id ", id, " stands for ",
                     quoted(tokens_[index] == nullptr ? "" : *tokens_[index]), " and for ", quoted(token));
  const auto entry = ids_.insert_or_assign(token, static_cast<TokenId>(id)).first;
  tokens_[index] = &entry->first;
  ++count_;
}

void Vocabulary::finish(const std::string& where) {
  require<DataError>(size() <= 2 * count_ + kAnyHoles, where, ": ids up to ", size() - 1, " for ", count_,
                     " tokens");
  for (size_t byte = 0; byte < bytes_.size(); ++byte) {
    bytes_[byte] = find(byte_token(static_cast<unsigned char>(byte)));
  }
}

std::optional<TokenId> Vocabulary::find(std::string_view token) const {
  const auto found = ids_.find(token);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

const std::string* Vocabulary::token(TokenId id) const {
  const auto index = static_cast<size_t>(id);
  return id >= 0 && index < tokens_.size() ? tokens_[index] : nullptr;
}

}  // namespace sluice::text::internal
