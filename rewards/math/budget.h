// How much work one comparison may take: steps are counted, not time, so that an answer has the same fate on
// every machine.
#pragma once

#include <cstdint>

namespace sluice::rewards::math {

// A few milliseconds at most. What people write takes a thousandth of it.
constexpr int64_t kMaxSteps = 1'000'000;

class Budget {
 public:
  // False from the moment that more was asked for than there is: then nothing may be concluded.
  bool spend(int64_t steps = 1) {
    if (steps > kMaxSteps - spent_) exhausted_ = true;
    if (!exhausted_) spent_ += steps;
    return !exhausted_;
  }
  bool exhausted() const { return exhausted_; }
  int64_t spent() const { return spent_; }

 private:
  int64_t spent_ = 0;
  bool exhausted_ = false;
};

}  // namespace sluice::rewards::math
