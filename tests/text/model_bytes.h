// SentencePiece models written byte by byte, so that a test can get each of them wrong.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <vector>

namespace sluice::text {

inline std::string varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7F));
  return out + static_cast<char>(value);
}

inline std::string tag(uint64_t field, uint64_t wire_type) { return varint(field << 3 | wire_type); }

inline std::string number_field(uint64_t field, int64_t value) {
  return tag(field, 0) + varint(static_cast<uint64_t>(value));
}

inline std::string bytes_field(uint64_t field, const std::string& bytes) {
  return tag(field, 2) + varint(bytes.size()) + bytes;
}

inline std::string fixed32(uint32_t bits) {
  std::string out;
  for (int i = 0; i < 4; ++i) out += static_cast<char>(bits >> (8 * i) & 0xFF);
  return out;
}

inline std::string float_field(uint64_t field, float value) {
  return tag(field, 5) + fixed32(std::bit_cast<uint32_t>(value));
}

enum : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kUserDefined = 4, kUnused = 5, kByte = 6 };

inline std::string piece(const std::string& text, int64_t type = kNormal, float score = 0) {
  return bytes_field(1, bytes_field(1, text) + float_field(2, score) + number_field(3, type));
}

inline std::string trainer(const std::string& fields) { return bytes_field(2, fields); }
inline std::string normalizer(const std::string& fields) { return bytes_field(3, fields); }

constexpr int64_t kUnigram = 1, kBpe = 2, kWord = 3;
inline std::string kind(int64_t model_type) { return number_field(3, model_type); }

inline const std::string kSpecials =
    piece("<unk>", kUnknown) + piece("<s>", kControl) + piece("</s>", kControl);
inline const std::string kLetters =
    piece("a", kNormal, -1) + piece("b", kNormal, -2) + piece("ab", kNormal, -3);

// Ids: 0 <unk>, 1 <s>, 2 </s>, 3 a, 4 b, 5 ab and what `more` holds.
inline std::string small_model(const std::string& more = "", const std::string& training = kind(kBpe),
                               const std::string& normalization = number_field(3, 0)) {
  return kSpecials + kLetters + more + trainer(training) + normalizer(normalization);
}

// Normalization rules that a test can bend: a double array of one block with a rule for "a" and, from the
// same root, whatever is written into `units`.
struct RuleBlob {
  static constexpr uint32_t kNever = 1u << 31;  // a label that no byte has
  static constexpr uint32_t kRuleEnds = 1u << 8;
  static constexpr uint32_t kRoot = 0x10;  // base of the root, so "a" is unit 0x71

  static constexpr uint32_t unit(uint32_t label, uint32_t offset, bool ends) {
    return offset << 10 | (ends ? kRuleEnds : 0) | label;
  }

  RuleBlob() {
    units.assign(256, kNever);
    units[0] = unit(0, kRoot, false);
    units[kRoot ^ 'a'] = unit('a', 1, true);
    units[kRoot ^ 'a' ^ 1] = kNever | 0;  // its replacement stands at byte 0
  }

  std::string bytes() const {
    std::string out = fixed32(static_cast<uint32_t>(4 * units.size()));
    for (const uint32_t value : units) out += fixed32(value);
    return out + replacements;
  }

  std::string field() const { return bytes_field(2, bytes()) + number_field(3, 0) + number_field(4, 0); }

  std::vector<uint32_t> units;
  std::string replacements = std::string("b\0", 2);
};

inline std::string byte_pieces() {
  std::string out;
  std::array<char, 7> name{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    std::snprintf(name.data(), name.size(), "<0x%02X>", byte);
    out += piece(name.data(), kByte);
  }
  return out;
}

}  // namespace sluice::text
