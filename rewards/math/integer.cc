#include "rewards/math/integer.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace sluice::rewards::math {
namespace {

using Limbs = std::vector<uint32_t>;

bool less(const Limbs& left, const Limbs& right) {
  if (left.size() != right.size()) return left.size() < right.size();
  return std::lexicographical_compare(left.rbegin(), left.rend(), right.rbegin(), right.rend());
}

Limbs sum(const Limbs& left, const Limbs& right) {
  Limbs out;
  uint64_t carry = 0;
  for (size_t i = 0; i < std::max(left.size(), right.size()) || carry != 0; ++i) {
    carry += (i < left.size() ? left[i] : 0ull) + (i < right.size() ? right[i] : 0ull);
    out.push_back(static_cast<uint32_t>(carry));
    carry >>= 32;
  }
  return out;
}

// left - right, which is not below 0.
Limbs difference(const Limbs& left, const Limbs& right) {
  Limbs out;
  uint64_t borrow = 0;
  for (size_t i = 0; i < left.size(); ++i) {
    const uint64_t taken = (i < right.size() ? right[i] : 0ull) + borrow;
    borrow = left[i] < taken ? 1 : 0;
    out.push_back(static_cast<uint32_t>(left[i] - taken));
  }
  return out;
}

}  // namespace

Integer::Integer(int64_t value) : negative_(value < 0) {
  uint64_t rest = negative_ ? -static_cast<uint64_t>(value) : static_cast<uint64_t>(value);
  for (; rest != 0; rest >>= 32) limbs_.push_back(static_cast<uint32_t>(rest));
}

Integer Integer::from_digits(std::string_view digits) {
  Integer out;
  for (size_t at = 0; at < digits.size();) {
    const size_t end = std::min(digits.size(), at + 9);
    uint32_t factor = 1, addend = 0;
    for (; at < end; ++at) {
      factor *= 10;
      addend = addend * 10 + static_cast<uint32_t>(digits[at] - '0');
    }
    out.add_small(factor, addend);
  }
  return out;
}

std::optional<int64_t> Integer::small() const {
  if (limbs_.size() > 2) return std::nullopt;
  uint64_t value = 0;
  for (size_t i = limbs_.size(); i-- > 0;) value = (value << 32) | limbs_[i];
  if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
  return negative_ ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
}

Integer::Scaled Integer::scaled() const {
  double high = 0.0;  // of the three highest limbs, which hold all the bits that a double keeps
  const size_t from = limbs_.size() > 3 ? limbs_.size() - 3 : 0;
  for (size_t i = limbs_.size(); i-- > from;) high = high * 0x1p32 + limbs_[i];
  int exponent = 0;
  const double mantissa = std::frexp(negative_ ? -high : high, &exponent);
  return {mantissa, exponent + 32 * static_cast<int64_t>(from)};
}

Integer Integer::operator-() const {
  Integer out = *this;
  out.negative_ = !negative_ && !is_zero();
  return out;
}

Integer operator+(const Integer& left, const Integer& right) {
  Integer out;
  if (left.negative_ == right.negative_) {
    out.limbs_ = sum(left.limbs_, right.limbs_);
    out.negative_ = left.negative_;
  } else {
    const bool swapped = less(left.limbs_, right.limbs_);
    out.limbs_ = swapped ? difference(right.limbs_, left.limbs_) : difference(left.limbs_, right.limbs_);
    out.negative_ = swapped ? right.negative_ : left.negative_;
  }
  out.trim();
  return out;
}

Integer operator*(const Integer& left, const Integer& right) {
  Integer out;
  out.negative_ = left.negative_ != right.negative_;
  out.limbs_.assign(left.limbs_.size() + right.limbs_.size(), 0);
  for (size_t i = 0; i < left.limbs_.size(); ++i) {
    uint64_t carry = 0;
    for (size_t j = 0; j < right.limbs_.size(); ++j) {
      carry += static_cast<uint64_t>(left.limbs_[i]) * right.limbs_[j] + out.limbs_[i + j];
      out.limbs_[i + j] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    out.limbs_[i + right.limbs_.size()] = static_cast<uint32_t>(carry);
  }
  out.trim();
  return out;
}

void Integer::add_small(uint32_t factor, uint32_t addend) {
  uint64_t carry = addend;
  for (auto& limb : limbs_) {
    carry += static_cast<uint64_t>(limb) * factor;
    limb = static_cast<uint32_t>(carry);
    carry >>= 32;
  }
  if (carry != 0) limbs_.push_back(static_cast<uint32_t>(carry));
}

void Integer::trim() {
  while (!limbs_.empty() && limbs_.back() == 0) limbs_.pop_back();
  if (limbs_.empty()) negative_ = false;
}

}  // namespace sluice::rewards::math
