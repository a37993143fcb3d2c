#include "text/sentencepiece/model.h"

#include <initializer_list>

#include "base/error.h"
#include "text/internal/spelling.h"
#include "text/sentencepiece/model_wire.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kMaxPieces = 1u << 20;
constexpr size_t kMaxSelfTestBytes = 1u << 20;  // the library encodes these texts as it loads
constexpr size_t kMaxNameBytes = 1024;

// Fields of the messages in sentencepiece_model.proto that something is made of; the others say how the model
// was trained and need only be well-formed.
namespace model_field {
constexpr uint32_t kPiece = 1, kTrainer = 2, kNormalizer = 3, kSelfTest = 4, kDenormalizer = 5;
}
namespace piece_field {
constexpr uint32_t kText = 1, kScore = 2, kType = 3;
}
namespace trainer_field {
constexpr uint32_t kKind = 3, kWhitespaceAsSuffix = 24, kByteFallback = 35, kUnknownSurface = 44;
constexpr uint32_t kFirstId = 40, kLastId = 43;      // unknown, begin, end, padding
constexpr uint32_t kFirstName = 45, kLastName = 48;  // the same
}  // namespace trainer_field
namespace normalizer_field {
constexpr uint32_t kCharsmap = 2, kDummyPrefix = 3, kRemoveWhitespace = 4, kEscapeWhitespace = 5;
}

struct SpecialId {
  int32_t id;
  size_t offset;
};

// Fields (of numbers below 64) that a message has once: a second would replace the first unseen.
class Once {
 public:
  Once(std::initializer_list<uint32_t> fields, const std::string& where) : where_(where) {
    for (const uint32_t field : fields) watched_ |= bit(field);
  }

  void see(const WireField& field, const char* message) {
    const uint64_t watched = field.number < 64 ? bit(field.number) & watched_ : 0;
    require<DataError>((seen_ & watched) == 0, where_, ": byte ", field.offset, ": field ", field.number,
                       " of ", message, " is there twice");
    seen_ |= watched;
  }

 private:
  static uint64_t bit(uint32_t field) { return uint64_t{1} << field; }

  const std::string& where_;
  uint64_t watched_ = 0;
  uint64_t seen_ = 0;
};

ModelPiece read_piece(const WireField& message, const std::string& where) {
  ModelPiece piece;
  piece.offset = message.offset;
  WireReader reader(wire_bytes(message, "a piece", where), message.bytes_offset, where);
  Once once({piece_field::kText, piece_field::kScore, piece_field::kType}, where);
  for (WireField field; reader.next(field);) {
    once.see(field, "a piece");
    if (field.number == piece_field::kText) piece.text = wire_text(field, "a piece", where);
    if (field.number == piece_field::kScore) piece.score = wire_float(field, "the score of a piece", where);
    if (field.number != piece_field::kType) continue;
    const int32_t type = wire_integer(field, "the type of a piece", where);
    require<DataError>(type >= 1 && type <= 6, where, ": byte ", field.offset,
                       ": a piece has the unknown type ", type);
    piece.type = static_cast<PieceType>(type);
  }
  require<DataError>(!piece.text.empty(), where, ": byte ", piece.offset, ": a piece is empty");
  require<DataError>(piece.text.size() <= kMaxPieceBytes, where, ": byte ", piece.offset, ": a piece of ",
                     piece.text.size(), " bytes, at most ", kMaxPieceBytes, " are taken");
  return piece;
}

ModelKind read_kind(const WireField& field, const std::string& where) {
  const int32_t kind = wire_integer(field, "model_type", where);
  require<DataError>(kind == 1 || kind == 2 || kind == 4, where, ": byte ", field.offset, ": model_type ",
                     kind, kind == 3 ? " (whole words)" : "",
                     " is not supported; there are 1 (unigram), 2 (bpe), 4 "
                     "(characters)");
  return static_cast<ModelKind>(kind);
}

void read_trainer(const WireField& message, SentencePieceModel& model, std::vector<SpecialId>& ids,
                  const std::string& where) {
  using namespace trainer_field;
  Once once({kKind, kWhitespaceAsSuffix, kByteFallback, kUnknownSurface, 40, 41, 42, 43, 45, 46, 47, 48},
            where);
  WireReader reader(wire_bytes(message, "trainer_spec", where), message.bytes_offset, where);
  for (WireField field; reader.next(field);) {
    once.see(field, "trainer_spec");
    if (field.number == kKind) model.kind = read_kind(field, where);
    if (field.number == kByteFallback) model.byte_fallback = wire_boolean(field, "byte_fallback", where);
    if (field.number == kWhitespaceAsSuffix) {
      model.whitespace_as_suffix = wire_boolean(field, "treat_whitespace_as_suffix", where);
    }
    if (field.number >= kFirstId && field.number <= kLastId) {
      ids.push_back({wire_integer(field, "a special id", where), field.offset});
    }
    if (field.number == kUnknownSurface || (field.number >= kFirstName && field.number <= kLastName)) {
      const auto text = wire_text(field, "the name of a special piece", where);
      require<DataError>(text.size() <= kMaxNameBytes, where, ": byte ", field.offset,
                         ": the name of a special piece has ", text.size(), " bytes");
    }
  }
}

void read_normalizer(const WireField& message, SentencePieceModel& model, const std::string& where) {
  using namespace normalizer_field;
  Once once({kCharsmap, kDummyPrefix, kRemoveWhitespace, kEscapeWhitespace}, where);
  WireReader reader(wire_bytes(message, "normalizer_spec", where), message.bytes_offset, where);
  for (WireField field; reader.next(field);) {
    once.see(field, "normalizer_spec");
    if (field.number == kDummyPrefix) model.add_dummy_prefix = wire_boolean(field, "add_dummy_prefix", where);
    if (field.number == kRemoveWhitespace) wire_boolean(field, "remove_extra_whitespaces", where);
    if (field.number == kEscapeWhitespace) wire_boolean(field, "escape_whitespaces", where);
    if (field.number != kCharsmap) continue;
    const auto blob = wire_bytes(field, "precompiled_charsmap", where);
    if (!blob.empty()) check_charsmap(blob, field.bytes_offset, where);
  }
}

// Nothing is made of these, but the library reads them.
void check_self_test(const WireField& message, const std::string& where) {
  const auto bytes = wire_bytes(message, "self_test_data", where);
  require<DataError>(bytes.size() <= kMaxSelfTestBytes, where, ": byte ", message.offset,
                     ": self_test_data of ", bytes.size(), " bytes, at most ", kMaxSelfTestBytes,
                     " are taken");
  WireReader samples(bytes, message.bytes_offset, where);
  for (WireField sample; samples.next(sample);) {
    if (sample.number != 1) continue;
    WireReader texts(wire_bytes(sample, "a self-test", where), sample.bytes_offset, where);
    for (WireField text; texts.next(text);) {
      if (text.number <= 2) wire_text(text, "a self-test", where);
    }
  }
}

void check_denormalizer(const WireField& message, const std::string& where) {
  WireReader reader(wire_bytes(message, "denormalizer_spec", where), message.bytes_offset, where);
  for (WireField field; reader.next(field);) {
    require<DataError>(field.number != normalizer_field::kCharsmap || field.bytes.empty(), where, ": byte ",
                       field.offset,
                       ": rules that change decoded text (denormalizer_spec) are not supported");
  }
}

}  // namespace

SentencePieceModel read_sentencepiece_model(std::string_view bytes, const std::string& where) {
  SentencePieceModel model;
  std::vector<SpecialId> ids;
  Once once(
      {model_field::kTrainer, model_field::kNormalizer, model_field::kSelfTest, model_field::kDenormalizer},
      where);
  WireReader reader(bytes, 0, where);
  for (WireField field; reader.next(field);) {
    once.see(field, "the model");
    if (field.number == model_field::kPiece) {
      require<DataError>(model.pieces.size() < kMaxPieces, where, ": byte ", field.offset, ": more than ",
                         kMaxPieces, " pieces");
      model.pieces.push_back(read_piece(field, where));
    }
    if (field.number == model_field::kTrainer) read_trainer(field, model, ids, where);
    if (field.number == model_field::kNormalizer) read_normalizer(field, model, where);
    if (field.number == model_field::kSelfTest) check_self_test(field, where);
    if (field.number == model_field::kDenormalizer) check_denormalizer(field, where);
  }
  const auto num_pieces = static_cast<int32_t>(model.pieces.size());
  for (const auto& [id, offset] : ids) {
    require<DataError>(id >= -1 && id < num_pieces, where, ": byte ", offset, ": the special id ", id,
                       " is not one of ", num_pieces, " pieces");
  }
  check_pieces(model, where);
  return model;
}

}  // namespace sluice::text::internal
