// A SentencePiece model file, checked before the library sees it.
//
// The library follows offsets of the file without a bound (the normalizer's double array), fills arrays of a
// fixed size by it (64 user-defined symbols that begin one another, 32 normalization rules likewise) and lets
// its lengths decide how long encoding takes. What is read here holds none of that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::text::internal {

enum class PieceType { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };
enum class ModelKind { Unigram = 1, Bpe = 2, Character = 4 };  // the kind by whole words is refused

struct ModelPiece {
  std::string_view text;  // not empty, UTF-8, no two alike
  float score = 0;        // finite
  PieceType type = PieceType::Normal;
  size_t offset = 0;  // in the file
};

// What the file says; the views point into its bytes.
struct SentencePieceModel {
  ModelKind kind = ModelKind::Unigram;
  bool byte_fallback = false;
  bool add_dummy_prefix = true;  // a space before every text
  bool whitespace_as_suffix = false;
  std::vector<ModelPiece> pieces;  // by id
};

// Longest text that a normalization rule may put in place of another, in bytes.
constexpr size_t kMaxReplacementBytes = 64;

// Reads a serialized ModelProto. Throws DataError "WHERE: byte OFFSET: ..." for bytes that are not one, and
// for one that no training makes: no or two unknown pieces, pieces that are empty, alike, too long or not
// UTF-8, scores that are not numbers, an incomplete set of byte pieces, special ids out of range, unknown
// types, malformed normalization rules.
SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& where);

// The rules that hold among pieces; part of the above.
void check_pieces(const SentencePieceModel& model, const std::string& where);

// The normalization rules `blob`, which lie at byte `offset` of the file: a double array from what is
// replaced to where in the text behind it the replacement stands. Part of the above.
void check_charsmap(std::string_view blob, size_t offset, const std::string& where);

}  // namespace sluice::text::internal
