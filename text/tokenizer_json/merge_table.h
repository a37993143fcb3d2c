// Which pairs of tokens become one, and in which order.
#pragma once

#include <bit>
#include <cstdint>
#include <vector>

#include "text/tokenizer.h"

namespace sluice::text::internal {

class MergeTable {
 public:
  struct Merge {
    uint64_t pair = kNoPair;  // left id in the upper half, right id in the lower
    uint32_t rank = 0;        // what has the lowest is merged first
    TokenId merged = 0;
  };

  explicit MergeTable(size_t num_merges = 0) : shift_(63 - static_cast<int>(std::bit_width(num_merges))) {
    slots_.resize(size_t{1} << (64 - shift_));  // at least twice as many as there are merges
    merged_.reserve(num_merges);
  }

  // The next in rank, at most as many as the constructor was told; a pair that comes again takes the last
  // rank.
  void add(TokenId left, TokenId right, TokenId merged) {
    const uint64_t pair = pair_of(left, right);
    size_t slot = first_slot(pair);
    while (slots_[slot].pair != kNoPair && slots_[slot].pair != pair) slot = next_slot(slot);
    slots_[slot] = {pair, static_cast<uint32_t>(merged_.size()), merged};
    merged_.push_back(merged);
  }

  // Null when the two do not become one.
  const Merge* find(TokenId left, TokenId right) const {
    const uint64_t pair = pair_of(left, right);
    size_t slot = first_slot(pair);
    while (slots_[slot].pair != pair) {
      if (slots_[slot].pair == kNoPair) return nullptr;
      slot = next_slot(slot);
    }
    return &slots_[slot];
  }

  TokenId merged(uint32_t rank) const { return merged_[rank]; }

 private:
  static constexpr uint64_t kNoPair = ~uint64_t{0};

  static uint64_t pair_of(TokenId left, TokenId right) {
    return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
  }
  size_t first_slot(uint64_t pair) const { return (pair * 0x9E3779B97F4A7C15u) >> shift_; }
  size_t next_slot(size_t slot) const { return (slot + 1) & (slots_.size() - 1); }

  int shift_;
  std::vector<Merge> slots_;     // open addressing
  std::vector<TokenId> merged_;  // by rank
};

}  // namespace sluice::text::internal
