// An endless order over n things that depends on a seed alone, so that who goes on at a place finds the same
// ones.
#pragma once

#include <cstdint>
#include <vector>

namespace sluice {

// Each epoch is a new shuffle of all of them (shuffled_indices), of which one is kept; the first may be their
// own order instead, for things that come easy to hard. One thread owns it.
class EpochOrder {
 public:
  EpochOrder(int64_t count, uint64_t seed, bool first_in_order = false)
      : count_(count), seed_(seed), first_in_order_(first_in_order) {}

  // The index, 0 .. count - 1, at a place of the order, from 0. Throws Error for a place before that, and
  // when there is nothing to order.
  int64_t at(int64_t ordinal);

 private:
  int64_t count_;
  uint64_t seed_;
  bool first_in_order_;
  int64_t epoch_ = -1;
  std::vector<int64_t> order_;  // of epoch_
};

}  // namespace sluice
