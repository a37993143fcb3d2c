// The normalization rules of a SentencePiece model.
//
// Layout: size of the double array (4 bytes), its units (4 bytes each), replacements that end in zero bytes.
// Unit u with label c is reached from unit p when u = base(p) ^ c, base(p) = p ^ offset(p); bit 8 of a unit
// says that a rule ends there, and then the unit at its base holds the place of the replacement.
#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "text/internal/utf8.h"
#include "text/sentencepiece/model.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kMaxBlobBytes = 4u << 20;  // the largest that SentencePiece ships is 0.3 MB
constexpr uint32_t kBlockUnits = 256;       // children of a unit are inside one block
constexpr size_t kMaxRuleBytes = 64;        // what is replaced, at most
constexpr size_t kMaxNestedRules = 32;      // the library's array for rules that begin one another

class DoubleArray {
 public:
  // `offset` is where the units begin in the file.
  DoubleArray(std::string_view units, std::string_view replacements, size_t offset, const std::string& where)
      : units_(units.size() / 4),
        below_(units_.size()),
        replacements_(replacements),
        offset_(offset),
        where_(where) {
    std::memcpy(units_.data(), units.data(), 4 * units_.size());
  }

  void check() { walk(/*unit=*/0, /*depth=*/0); }

 private:
  static constexpr uint32_t kLeaf = 1u << 31;
  static constexpr uint32_t kLabel = kLeaf | 0xFF;
  static constexpr uint32_t kRuleEnds = 1u << 8;
  static constexpr uint32_t kWideOffset = 1u << 9;

  // What can follow a unit: the longest way down in bytes, and the most rules that end on one.
  struct Below {
    bool known = false;
    size_t bytes = 0;
    size_t rules = 0;
  };

  // Every unit is walked once, but one that leads back to itself until the way is too long for a rule.
  Below walk(uint32_t unit, size_t depth) {
    if (below_[unit].known) return below_[unit];
    require<DataError>(depth <= kMaxRuleBytes, at(unit), "a rule of more than ", kMaxRuleBytes, " bytes");
    const uint32_t value = units_[unit];
    const uint32_t base = unit ^ ((value >> 10) << ((value & kWideOffset) >> 6));
    require<DataError>(base < units_.size(), at(unit), "a rule leads to unit ", base, " of ", units_.size());

    Below below{.known = true};
    for (uint32_t label = 0; label < kBlockUnits; ++label) {
      const uint32_t child = base ^ label;
      if ((units_[child] & kLabel) != label) continue;
      const Below further = walk(child, depth + 1);
      below.bytes = std::max(below.bytes, further.bytes + 1);
      below.rules = std::max(below.rules, further.rules);
    }
    if (unit != 0 && (value & kRuleEnds) != 0) {
      check_replacement(unit, units_[base] & ~kLeaf);
      ++below.rules;
    }
    require<DataError>(below.bytes <= kMaxRuleBytes, at(unit), "a rule of more than ", kMaxRuleBytes,
                       " bytes");
    require<DataError>(below.rules <= kMaxNestedRules, at(unit), "more than ", kMaxNestedRules,
                       " rules begin one another");
    return below_[unit] = below;
  }

  void check_replacement(uint32_t unit, uint32_t begin) const {
    require<DataError>(begin < replacements_.size(), at(unit), "a replacement begins at byte ", begin, " of ",
                       replacements_.size());
    const auto text = replacements_.substr(begin, replacements_.find('\0', begin) - begin);
    require<DataError>(text.size() <= kMaxReplacementBytes, at(unit), "a replacement of ", text.size(),
                       " bytes, at most ", kMaxReplacementBytes, " are taken");
    require<DataError>(valid_utf8_prefix(text) == text.size(), at(unit), "a replacement is not UTF-8");
  }

  std::string at(uint32_t unit) const {
    return where_ + ": byte " + std::to_string(offset_ + 4 * static_cast<size_t>(unit)) + ": ";
  }

  std::vector<uint32_t> units_;
  std::vector<Below> below_;  // by unit
  const std::string_view replacements_;
  const size_t offset_;
  const std::string& where_;
};

}  // namespace

void check_charsmap(std::string_view blob, size_t offset, const std::string& where) {
  const std::string at = where + ": byte " + std::to_string(offset) + ": precompiled_charsmap ";
  require<DataError>(blob.size() > 4 && blob.size() <= kMaxBlobBytes, at, "has ", blob.size(),
                     " bytes; it may have 5 to ", kMaxBlobBytes);
  uint32_t num_bytes = 0;
  std::memcpy(&num_bytes, blob.data(), sizeof num_bytes);
  require<DataError>(num_bytes > 0 && num_bytes % (4 * kBlockUnits) == 0, at, "has a double array of ",
                     num_bytes, " bytes, not whole blocks of ", 4 * kBlockUnits);
  require<DataError>(num_bytes < blob.size() - 4, at, "has a double array of ", num_bytes,
                     " bytes, and with it only ", blob.size() - 4);
  const auto replacements = blob.substr(4 + num_bytes);
  require<DataError>(replacements.back() == '\0', at, "does not end in a zero byte");
  DoubleArray(blob.substr(4, num_bytes), replacements, offset + 4, where).check();
}

}  // namespace sluice::text::internal
