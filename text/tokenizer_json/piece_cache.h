// The ids of pieces met before: most words of a text are words it has had already.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::text::internal {

// A fixed number of slots; a new piece takes the slot of an older one. For one thread at a time.
class PieceCache {
 public:
  PieceCache() : slots_(kSlots) {}

  // Appends the ids of the piece to `out` if it is here.
  bool find(std::string_view piece, std::vector<TokenId>& out) const {
    if (piece.size() > kMaxBytes) return false;
    const Slot& slot = slots_[index(piece)];
    if (std::string_view(slot.bytes, slot.num_bytes) != piece) return false;
    out.insert(out.end(), slot.ids, slot.ids + slot.num_ids);
    return true;
  }

  // Keeps the ids, unless there are too many of them or the piece is long.
  void keep(std::string_view piece, std::span<const TokenId> ids) {
    if (piece.empty() || piece.size() > kMaxBytes || ids.size() > kMaxIds) return;
    Slot& slot = slots_[index(piece)];
    slot.num_bytes = static_cast<uint8_t>(piece.size());
    slot.num_ids = static_cast<uint8_t>(ids.size());
    std::copy(piece.begin(), piece.end(), slot.bytes);
    std::copy(ids.begin(), ids.end(), slot.ids);  // there may be none
  }

 private:
  static constexpr size_t kSlots = 1u << 15;
  static constexpr size_t kMaxBytes = 38;
  static constexpr size_t kMaxIds = 6;

  struct alignas(64) Slot {  // one cache line; num_bytes 0 is an empty one
    TokenId ids[kMaxIds] = {};
    uint8_t num_bytes = 0;
    uint8_t num_ids = 0;
    char bytes[kMaxBytes] = {};
  };
  static_assert(sizeof(Slot) == 64);

  static size_t index(std::string_view piece) { return std::hash<std::string_view>()(piece) % kSlots; }

  std::vector<Slot> slots_;
};

}  // namespace sluice::text::internal
