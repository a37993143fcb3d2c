// What must hold among the pieces of a SentencePiece model.
#include <algorithm>
#include <array>
#include <unordered_map>

#include "base/error.h"
#include "text/internal/spelling.h"
#include "text/internal/utf8.h"
#include "text/sentencepiece/model.h"

namespace sluice::text::internal {
namespace {

// The library looks user-defined symbols up by their prefixes into an array of this size.
constexpr size_t kMaxNestedSymbols = 64;

void check_distinct(const SentencePieceModel& model, const std::string& where) {
  std::unordered_map<std::string_view, size_t> first;
  first.reserve(model.pieces.size());
  for (const auto& piece : model.pieces) {
    const auto [found, fresh] = first.try_emplace(piece.text, piece.offset);
    require<DataError>(fresh, where, ": byte ", piece.offset, ": the piece \"", piece.text,
                       "\" is there already, at byte ", found->second);
  }
}

void check_bytes(const SentencePieceModel& model, const std::string& where) {
  std::array<bool, 256> found{};
  for (const auto& piece : model.pieces) {
    if (piece.type != PieceType::Byte) continue;
    const auto byte = byte_of(piece.text);
    require<DataError>(byte && piece.text == byte_token(*byte), where, ": byte ", piece.offset,
                       ": the byte piece \"", piece.text, "\" is not spelled <0xNN>");
    require<DataError>(model.byte_fallback, where, ": byte ", piece.offset, ": the byte piece ", piece.text,
                       " in a model without byte_fallback");
    found[*byte] = true;
  }
  const auto missing = std::find(found.begin(), found.end(), false) - found.begin();
  require<DataError>(!model.byte_fallback || missing == std::ssize(found), where, ": byte ", 0,
                     ": byte_fallback is set, but the piece of byte ", missing, " is missing");
}

// One piece stands for what is unknown. It and control pieces are never found in a text; the models that look
// up single characters would find them if they were one.
void check_specials(const SentencePieceModel& model, const std::string& where) {
  const ModelPiece* unknown = nullptr;
  bool any_text = false;
  for (const auto& piece : model.pieces) {
    const bool is_unknown = piece.type == PieceType::Unknown;
    require<DataError>(!is_unknown || unknown == nullptr, where, ": byte ", piece.offset,
                       ": a second unknown piece, \"", piece.text, "\"");
    if (is_unknown) unknown = &piece;
    any_text |= piece.type == PieceType::Normal || piece.type == PieceType::UserDefined;
    require<DataError>((!is_unknown && piece.type != PieceType::Control) ||
                           model.kind == ModelKind::Unigram || utf8_length(piece.text, 0) < piece.text.size(),
                       where, ": byte ", piece.offset, ": the control piece \"", piece.text,
                       "\" is a single character");
  }
  require<DataError>(unknown != nullptr, where, ": byte 0: none of ", model.pieces.size(),
                     " pieces stands for what is unknown");
  require<DataError>(any_text, where, ": byte 0: none of ", model.pieces.size(), " pieces is of text");
}

void check_symbols(const SentencePieceModel& model, const std::string& where) {
  std::vector<const ModelPiece*> symbols;
  for (const auto& piece : model.pieces) {
    if (piece.type == PieceType::UserDefined) symbols.push_back(&piece);
  }
  std::sort(symbols.begin(), symbols.end(), [](auto* a, auto* b) { return a->text < b->text; });
  std::vector<const ModelPiece*> nested;  // each begins with the one before it
  for (const auto* symbol : symbols) {
    while (!nested.empty() && !symbol->text.starts_with(nested.back()->text)) nested.pop_back();
    nested.push_back(symbol);
    require<DataError>(nested.size() <= kMaxNestedSymbols, where, ": byte ", symbol->offset, ": more than ",
                       kMaxNestedSymbols, " user-defined pieces begin one another");
  }
}

}  // namespace

void check_pieces(const SentencePieceModel& model, const std::string& where) {
  check_specials(model, where);
  check_distinct(model, where);
  check_bytes(model, where);
  check_symbols(model, where);
}

}  // namespace sluice::text::internal
