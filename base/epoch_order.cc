#include "base/epoch_order.h"

#include "base/error.h"
#include "base/philox.h"

namespace sluice {

int64_t EpochOrder::at(int64_t ordinal) {
  require(count_ > 0 && ordinal >= 0, "EpochOrder: place ", ordinal, " of an order over ", count_);
  if (first_in_order_ && ordinal < count_) return ordinal;
  if (const int64_t epoch = ordinal / count_; epoch != epoch_) {
    order_ = shuffled_indices(count_, seed_, static_cast<uint64_t>(epoch));
    epoch_ = epoch;
  }
  return order_[static_cast<size_t>(ordinal % count_)];
}

}  // namespace sluice
