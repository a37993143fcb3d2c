// Byte-pair encoding: the characters of a piece, merged pair by pair in the order that training learned.
#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "text/internal/spelling.h"
#include "text/internal/unicode.h"
#include "text/tokenizer_json/component.h"
#include "text/tokenizer_json/merge_table.h"
#include "text/tokenizer_json/token_model.h"

namespace sluice::text::internal {
namespace {

constexpr char32_t kDirect = 0x250;  // characters below are looked up by index: the byte-level alphabet is
constexpr size_t kMaxMerges = 1u << 22;
constexpr size_t kMaxPiece = 1u << 30;  // positions are 32 bits

struct BpeOptions {
  std::optional<TokenId> unk_id;
  std::string prefix;  // of the characters that do not begin a piece
  std::string suffix;  // of the last character
  bool fuse_unk = false;
  bool byte_fallback = false;
  bool ignore_merges = false;  // a piece that is a token is that token
};

class Bpe : public TokenModel {
 public:
  Bpe(Vocabulary vocabulary, MergeTable merges, BpeOptions options, bool spaces_are_apart)
      : TokenModel(std::move(vocabulary)), merges_(std::move(merges)), options_(std::move(options)) {
    can_cut_ = spaces_are_apart && options_.prefix.empty() && options_.suffix.empty() &&
               !options_.ignore_merges && this->vocabulary().find(kSpaceMark).has_value();
    for (char32_t code = 0; code < kDirect; ++code) {
      std::string character;
      append_utf8(character, code);
      direct_.push_back(this->vocabulary().find(character).value_or(-1));
    }
  }

  void encode(std::string_view piece, const BlockedIds& blocked, ModelMemory& memory,
              std::vector<TokenId>& out) const override {
    if (options_.ignore_merges) {
      const auto whole = vocabulary().find(piece);
      if (whole && !is_blocked(*whole, blocked)) return out.push_back(*whole);
    }
    require(piece.size() <= kMaxPiece, "tokenizer: a piece of ", piece.size(), " bytes, at most ", kMaxPiece);
    begin(piece, blocked, memory.symbols);
    merge(blocked, memory);
    for (const auto& symbol : memory.symbols) {
      if (symbol.id >= 0) out.push_back(symbol.id);
    }
  }

  std::optional<TokenId> unk_id() const override { return options_.unk_id; }
  bool can_cut_at_spaces() const override { return can_cut_; }

 private:
  static bool is_blocked(TokenId id, const BlockedIds& blocked) {
    return !blocked.empty() && blocked[static_cast<size_t>(id)];
  }

  // One symbol per character, before any merge.
  void begin(std::string_view piece, const BlockedIds& blocked,
             std::vector<ModelMemory::Symbol>& symbols) const {
    symbols.clear();
    int64_t num_unknown = 0;  // characters that have not become symbols yet
    const auto add = [&](TokenId id) {
      const auto at = static_cast<int32_t>(symbols.size());
      symbols.push_back({id, at - 1, at + 1});
    };
    const auto add_unknown = [&] {
      if (num_unknown > 0) add(*options_.unk_id);
      num_unknown = 0;
    };
    for (size_t at = 0; at < piece.size();) {
      const Character character = character_at(piece, at);
      const TokenId id = find_character(piece, at, character, blocked);
      const std::string_view bytes = piece.substr(at, character.length);
      at += character.length;
      if (id >= 0) {
        add_unknown();
        add(id);
      } else if (options_.byte_fallback && has_bytes(bytes)) {
        for (const char byte : bytes) add(*vocabulary().find_byte(static_cast<unsigned char>(byte)));
      } else if (options_.unk_id) {
        if (!options_.fuse_unk) add_unknown();
        ++num_unknown;
      }
    }
    add_unknown();
    if (!symbols.empty()) symbols.back().next = -1;
  }

  bool has_bytes(std::string_view bytes) const {
    return std::all_of(bytes.begin(), bytes.end(), [&](char byte) {
      return vocabulary().find_byte(static_cast<unsigned char>(byte)).has_value();
    });
  }

  TokenId find_character(std::string_view piece, size_t at, const Character& character,
                         const BlockedIds& blocked) const {
    const bool first = at == 0;
    const bool last = at + character.length == piece.size();
    TokenId id = -1;
    if ((first || options_.prefix.empty()) && (!last || options_.suffix.empty())) {
      id = character.code < kDirect ? direct_[character.code]
                                    : vocabulary().find(piece.substr(at, character.length)).value_or(-1);
    } else {
      std::string token(first ? "" : options_.prefix);
      token += piece.substr(at, character.length);
      if (last) token += options_.suffix;
      id = vocabulary().find(token).value_or(-1);
    }
    return id >= 0 && !is_blocked(id, blocked) ? id : -1;
  }

  // The merge of a symbol with the one after it.
  const MergeTable::Merge* merge_at(size_t at, const std::vector<ModelMemory::Symbol>& symbols,
                                    const BlockedIds& blocked) const {
    const auto& left = symbols[at];
    if (left.id < 0 || left.next < 0) return nullptr;
    const auto* merge = merges_.find(left.id, symbols[static_cast<size_t>(left.next)].id);
    return merge != nullptr && !is_blocked(merge->merged, blocked) ? merge : nullptr;
  }

  // The queue holds rank and position of pairs, the lowest on top: what is merged first. An entry is void
  // when its pair has become part of something else since.
  void merge(const BlockedIds& blocked, ModelMemory& memory) const {
    auto& symbols = memory.symbols;
    auto& queue = memory.queue;
    queue.clear();
    for (size_t at = 0; at < symbols.size(); ++at) {
      const auto* merge = merge_at(at, symbols, blocked);
      if (merge != nullptr) queue.push_back((uint64_t{merge->rank} << 32) | at);
    }
    std::make_heap(queue.begin(), queue.end(), std::greater<>());
    const auto push = [&](int32_t at) {
      const auto* merge = merge_at(static_cast<size_t>(at), symbols, blocked);
      if (merge == nullptr) return;
      queue.push_back((uint64_t{merge->rank} << 32) | static_cast<uint32_t>(at));
      std::push_heap(queue.begin(), queue.end(), std::greater<>());
    };
    while (!queue.empty()) {
      std::pop_heap(queue.begin(), queue.end(), std::greater<>());
      const uint64_t top = queue.back();
      queue.pop_back();
      const auto at = static_cast<int32_t>(top & 0xFFFFFFFFu);
      const TokenId merged = merges_.merged(static_cast<uint32_t>(top >> 32));
      const auto* merge = merge_at(static_cast<size_t>(at), symbols, blocked);
      if (merge == nullptr || merge->merged != merged) continue;

      auto& left = symbols[static_cast<size_t>(at)];
      auto& right = symbols[static_cast<size_t>(left.next)];
      left.id = merged;
      left.next = right.next;
      right.id = -1;
      if (left.next >= 0) symbols[static_cast<size_t>(left.next)].previous = at;
      if (left.previous >= 0) push(left.previous);
      push(at);
    }
  }

  const MergeTable merges_;
  const BpeOptions options_;
  bool can_cut_ = false;
  std::vector<TokenId> direct_;  // by code below kDirect, -1 for none
};

// The two tokens of a merge, written as "left right" or as ["left", "right"].
std::pair<std::string_view, std::string_view> merge_sides(const Json& merge, const std::string& where) {
  if (merge.is_array()) {
    require<DataError>(merge.size() == 2 && merge[0].is_string() && merge[1].is_string(), where,
                       ": two strings are wanted, saw ", merge.dump().substr(0, 80));
    return {merge[0].get_ref<const std::string&>(), merge[1].get_ref<const std::string&>()};
  }
  require<DataError>(merge.is_string(), where, ": a string or two of them are wanted, saw ",
                     merge.type_name());
  const std::string_view text = merge.get_ref<const std::string&>();
  const size_t space = text.find(' ');
  require<DataError>(space != std::string_view::npos && text.find(' ', space + 1) == std::string_view::npos,
                     where, ": two tokens with a space between them are wanted, saw ", quoted(text));
  return {text.substr(0, space), text.substr(space + 1)};
}

struct ReadMerges {
  MergeTable table;
  bool spaces_are_apart = true;  // no merge puts a space behind another character
};

ReadMerges read_merges(const Json& list, const Vocabulary& vocabulary, const std::string& prefix,
                       const std::string& where) {
  ReadMerges out;
  require<DataError>(list.size() <= kMaxMerges, where, ".merges: ", list.size(), " of them, at most ",
                     kMaxMerges, " are read");
  out.table = MergeTable(list.size());
  for (size_t rank = 0; rank < list.size(); ++rank) {
    const std::string place = where + ".merges[" + std::to_string(rank) + "]";
    const auto [left, right] = merge_sides(list[rank], place);
    const auto id = [&](std::string_view token) {
      const auto found = vocabulary.find(token);
      require<DataError>(found.has_value(), place, ": the vocabulary has no ", quoted(token));
      return *found;
    };
    require<DataError>(right.starts_with(prefix), place, ": ", quoted(right), " does not begin with ",
                       quoted(prefix));
    const TokenId left_id = id(left);
    const TokenId right_id = id(right);
    out.table.add(left_id, right_id, id(std::string(left) + std::string(right.substr(prefix.size()))));
    out.spaces_are_apart &= !right.starts_with(kSpaceMark) || left.ends_with(kSpaceMark);
  }
  return out;
}

Vocabulary read_vocabulary(const Json& tokens, const std::string& where) {
  require<DataError>(tokens.is_object(), where, ": an object of token and id is wanted, saw ",
                     tokens.type_name());
  Vocabulary vocabulary;
  for (const auto& [token, id] : tokens.items()) {
    require<DataError>(id.is_number_integer(), where, "[", quoted(token), "]: a number is wanted, saw ",
                       id.type_name());
    vocabulary.add(token, id.get<int64_t>(), where);
  }
  vocabulary.finish(where);
  return vocabulary;
}

}  // namespace

std::unique_ptr<TokenModel> read_bpe(const Json& model, const std::string& where) {
  require<DataError>(json_member_or<double>(model, "dropout", 0, where) == 0, where,
                     ".dropout: a tokenizer that cuts at random is not supported");
  auto vocabulary = read_vocabulary(json_part(model, "vocab", where), where + ".vocab");
  BpeOptions options = {.unk_id = std::nullopt,
                        .prefix = json_member_or<std::string>(model, "continuing_subword_prefix", "", where),
                        .suffix = json_member_or<std::string>(model, "end_of_word_suffix", "", where),
                        .fuse_unk = json_member_or<bool>(model, "fuse_unk", false, where),
                        .byte_fallback = json_member_or<bool>(model, "byte_fallback", false, where),
                        .ignore_merges = json_member_or<bool>(model, "ignore_merges", false, where)};
  const auto unk = json_member_or<std::string>(model, "unk_token", "", where);
  if (!unk.empty()) {
    options.unk_id = vocabulary.find(unk);
    require<DataError>(options.unk_id.has_value(), where, ".unk_token: the vocabulary has no ", quoted(unk));
  }
  auto merges = read_merges(json_part(model, "merges", where), vocabulary, options.prefix, where);
  return std::make_unique<Bpe>(std::move(vocabulary), std::move(merges.table), std::move(options),
                               merges.spaces_are_apart);
}

}  // namespace sluice::text::internal
