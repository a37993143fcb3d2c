#include "text/tokenizer_json/added_tokens.h"

#include <algorithm>

#include "base/error.h"
#include "text/internal/unicode.h"

namespace sluice::text::internal {
namespace {

// The character that ends at `end`.
char32_t character_before(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  return character_at(text, begin).code;
}

bool inside_word(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && is_word(character_before(text, begin))) ||
         (end < text.size() && is_word(character_at(text, end).code));
}

size_t skip_spaces_left(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const char32_t code = character_before(text, begin);
    if (!is_whitespace(code)) break;
    --begin;
    while ((static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) --begin;
  }
  return begin;
}

size_t skip_spaces_right(std::string_view text, size_t end) {
  while (end < text.size()) {
    const Character character = character_at(text, end);
    if (!is_whitespace(character.code)) break;
    end += character.length;
  }
  return end;
}

}  // namespace

void AddedTokenList::add(const AddedToken& token, std::optional<int64_t> declared_id,
                         const std::string& where) {
  if (token.content.empty()) return;
  require<DataError>(token.content.size() <= kMaxAddedToken, where, ": an added token of ",
                     token.content.size(), " bytes, at most ", kMaxAddedToken, " are read");
  const auto known = ids_.find(token.content);
  auto id = known != ids_.end() ? std::optional(known->second) : vocabulary_.find(token.content);
  if (!id) {
    int64_t next = vocabulary_.count();
    if (!tokens_.empty()) next = std::max<int64_t>(next, tokens_.rbegin()->first + 1);
    id = static_cast<TokenId>(next);
    require<DataError>(vocabulary_.token(*id) == nullptr, where, ": the added token \"", token.content,
                       "\" would get the id ", *id, ", which is that of \"",
                       vocabulary_.token(*id) == nullptr ? "" : *vocabulary_.token(*id), "\"");
  }
  require<DataError>(!declared_id || *declared_id == *id, where, ": the added token \"", token.content,
                     "\" has the id ", declared_id.value_or(0), ", by the order of tokens it is ", *id);
  ids_.insert_or_assign(token.content, *id);
  auto& kept = tokens_[*id];
  const bool special = kept.special || token.special;
  kept = token;
  kept.special = special;
}

std::optional<TokenId> AddedTokenList::id(const std::string& content) const {
  const auto found = ids_.find(content);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

bool AddedTokenList::has(const AddedToken& token) const {
  const auto found = ids_.find(token.content);
  return found != ids_.end() && tokens_.at(found->second) == token;
}

AddedToken read_added_token(const Json& object, const std::string& where) {
  const bool special = json_member_or<bool>(object, "special", false, where);
  return {.content = json_member<std::string>(object, "content", where),
          .single_word = json_member_or<bool>(object, "single_word", false, where),
          .lstrip = json_member_or<bool>(object, "lstrip", false, where),
          .rstrip = json_member_or<bool>(object, "rstrip", false, where),
          .normalized = json_member_or<bool>(object, "normalized", !special, where),
          .special = special};
}

AddedTokenFinder::AddedTokenFinder(const std::map<TokenId, AddedToken>& tokens,
                                   const std::function<std::string(TokenId, const AddedToken&)>& normal,
                                   const std::string& where)
    : tokens_(tokens) {
  std::vector<std::pair<std::string, int32_t>> entries;
  for (const auto& [id, token] : tokens_) {
    auto text = normal(id, token);
    if (!text.empty()) entries.emplace_back(std::move(text), id);
  }
  trie_ = ByteTrie(std::move(entries), where);
}

void AddedTokenFinder::split(std::string_view text, Specials specials, std::vector<TextPart>& out) const {
  size_t done = 0;  // everything before is in `out`
  for (size_t at = 0; at < text.size();) {
    size_t length = 0;
    TokenId id = -1;
    if (trie_.begins(text[at])) {
      trie_.visit_prefixes(text, at, [&](size_t bytes, TokenId found) {
        length = bytes;
        id = found;
      });
    }
    if (id < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_.at(id);
    size_t begin = at;
    size_t end = at + length;
    at = end;
    if (token.special && specials == Specials::AsText) continue;
    if (token.single_word && inside_word(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(skip_spaces_left(text, begin, done), done);
    if (token.rstrip) end = skip_spaces_right(text, end);
    if (begin > done) out.push_back({done, begin, -1});
    out.push_back({begin, end, id});
    done = end;
  }
  if (done < text.size()) out.push_back({done, text.size(), -1});
}

}  // namespace sluice::text::internal
