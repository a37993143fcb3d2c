// A unigram language model: of all ways to cut a piece, the one whose tokens have the highest score together.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "base/error.h"
#include "text/internal/spelling.h"
#include "text/internal/unicode.h"
#include "text/tokenizer_json/byte_trie.h"
#include "text/tokenizer_json/component.h"
#include "text/tokenizer_json/token_model.h"

namespace sluice::text::internal {
namespace {

constexpr double kUnknownPenalty = 10;  // below the lowest score, as SentencePiece has it

class Unigram : public TokenModel {
 public:
  Unigram(Vocabulary vocabulary, std::vector<double> scores, std::optional<TokenId> unk_id,
          bool byte_fallback, const std::string& where)
      : TokenModel(std::move(vocabulary)),
        scores_(std::move(scores)),
        unk_id_(unk_id),
        byte_fallback_(byte_fallback) {
    std::vector<std::pair<std::string, int32_t>> entries;
    for (TokenId id = 0; id < this->vocabulary().size(); ++id)
      entries.emplace_back(*this->vocabulary().token(id), id);
    trie_ = ByteTrie(std::move(entries), where);
    unknown_score_ = *std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty;
  }

  void encode(std::string_view piece, const BlockedIds& blocked, ModelMemory& memory,
              std::vector<TokenId>& out) const override {
    auto& steps = memory.steps;
    find_best(piece, blocked, steps);
    const size_t from = out.size();
    for (size_t end = piece.size(); end > 0;) {  // backwards; what is unknown side by side is one
      size_t begin = steps[end].begin;
      const TokenId id = steps[end].id;
      while (id == unk_id_ && begin > 0 && steps[begin].id == unk_id_) begin = steps[begin].begin;
      append_backwards(piece.substr(begin, end - begin), id, blocked, out);
      end = begin;
    }
    std::reverse(out.begin() + static_cast<std::ptrdiff_t>(from), out.end());
  }

  std::optional<TokenId> unk_id() const override { return unk_id_; }
  // Sums of other addends could break a tie another way.
  bool can_cut_at_spaces() const override { return false; }

 private:
  void find_best(std::string_view piece, const BlockedIds& blocked,
                 std::vector<ModelMemory::Step>& steps) const {
    steps.assign(piece.size() + 1, {0, 0, -1});
    const auto offer = [&](size_t begin, size_t length, double score, TokenId id) {
      auto& step = steps[begin + length];
      const double total = score + steps[begin].score;
      if (step.id < 0 || total > step.score) step = {total, begin, id};
    };
    for (size_t at = 0; at < piece.size();) {
      const size_t length = character_at(piece, at).length;
      bool has_character = false;
      trie_.visit_prefixes(piece, at, [&](size_t bytes, TokenId id) {
        if (!blocked.empty() && blocked[static_cast<size_t>(id)]) return;
        offer(at, bytes, scores_[static_cast<size_t>(id)], id);
        has_character |= bytes == length;
      });
      if (!has_character) {
        require(unk_id_.has_value(), "tokenizer: the vocabulary lacks \"", piece.substr(at, length),
                "\" and has no unknown token");
        offer(at, length, unknown_score_, *unk_id_);
      }
      at += length;
    }
  }

  void append_backwards(std::string_view text, TokenId id, const BlockedIds& blocked,
                        std::vector<TokenId>& out) const {
    if (id == unk_id_) {
      const auto known = vocabulary().find(text);
      const bool usable = known && (blocked.empty() || !blocked[static_cast<size_t>(*known)]);
      if (!usable && byte_fallback_ && append_bytes_backwards(text, out)) return;
      if (usable) id = *known;
    }
    out.push_back(id);
  }

  bool append_bytes_backwards(std::string_view text, std::vector<TokenId>& out) const {
    const auto byte_id = [&](char byte) { return vocabulary().find_byte(static_cast<unsigned char>(byte)); };
    if (!std::all_of(text.begin(), text.end(), [&](char byte) { return byte_id(byte).has_value(); }))
      return false;
    for (size_t i = text.size(); i-- > 0;) out.push_back(*byte_id(text[i]));
    return true;
  }

  const std::vector<double> scores_;  // by id
  const std::optional<TokenId> unk_id_;
  const bool byte_fallback_;
  double unknown_score_ = 0;
  ByteTrie trie_;
};

}  // namespace

// The score as `tokenizers` reads it: the digits as an integer, then one division. That may be a rounding
// away from the nearest double, and decides which of two ways to cut "0000000" has the higher sum.
double read_score(double nearest) {
  char digits[20];  // an integer of 64 bits holds 19 and there is a point; longer ones come from no training
  const auto [end, error] =
      std::to_chars(digits, digits + sizeof digits, std::abs(nearest), std::chars_format::fixed);
  if (error != std::errc()) return nearest;
  uint64_t significand = 0;
  double divisor = 1;
  bool fraction = false;
  for (const char* at = digits; at != end; ++at) {
    if (*at == '.') {
      fraction = true;
      continue;
    }
    significand = significand * 10 + static_cast<uint64_t>(*at - '0');
    if (fraction) divisor *= 10;
  }
  return std::copysign(static_cast<double>(significand) / divisor, nearest);
}

std::unique_ptr<TokenModel> read_unigram(const Json& model, const std::string& where) {
  const Json& list = json_part(model, "vocab", where);
  require<DataError>(list.is_array() && !list.empty(), where,
                     ".vocab: a list of token and score is wanted, with a token in it");
  Vocabulary vocabulary;
  std::vector<double> scores;
  for (size_t id = 0; id < list.size(); ++id) {
    const std::string place = where + ".vocab[" + std::to_string(id) + "]";
    const Json& entry = list[id];
    require<DataError>(entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number(),
                       place, ": a token and its score are wanted, saw ", entry.dump().substr(0, 80));
    const auto& token = entry[0].get_ref<const std::string&>();
    require<DataError>(token.size() <= kMaxPieceBytes, place, ": a token of ", token.size(),
                       " bytes, at most ", kMaxPieceBytes, " are taken");
    scores.push_back(read_score(entry[1].get<double>()));
    require<DataError>(std::isfinite(scores.back()), place, ": a score that is no finite number");
    vocabulary.add(token, static_cast<int64_t>(id), place);
  }
  vocabulary.finish(where + ".vocab");
  std::optional<TokenId> unk_id;
  if (const auto id = json_member_or<int64_t>(model, "unk_id", -1, where); id != -1) {
    require<DataError>(id >= 0 && id < vocabulary.size(), where, ".unk_id: ", id, " in a vocabulary of ",
                       vocabulary.size(), " tokens");
    unk_id = static_cast<TokenId>(id);
  }
  const bool byte_fallback = json_member_or<bool>(model, "byte_fallback", false, where);
  return std::make_unique<Unigram>(std::move(vocabulary), std::move(scores), unk_id, byte_fallback, where);
}

}  // namespace sluice::text::internal
