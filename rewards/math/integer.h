// Whole numbers of any size. Who computes with them bounds it: see rational.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace sluice::rewards::math {

class Integer {
 public:
  Integer(int64_t value = 0);  // NOLINT: 2 is a number like any other
  static Integer from_digits(
      std::string_view digits);  // decimal, nothing else in it; quadratic in their number

  bool is_zero() const { return limbs_.empty(); }
  bool is_negative() const { return negative_; }
  int64_t num_limbs() const { return std::ssize(limbs_); }
  std::optional<int64_t> small() const;  // where it fits
  // The number is about mantissa * 2^exponent, 0 or 0.5 <= |mantissa| < 1.
  struct Scaled {
    double mantissa;
    int64_t exponent;
  };
  Scaled scaled() const;

  Integer operator-() const;
  friend Integer operator+(const Integer& left, const Integer& right);
  friend Integer operator*(const Integer& left, const Integer& right);
  bool operator==(const Integer&) const = default;

 private:
  void add_small(uint32_t factor, uint32_t addend);  // limbs_ * factor + addend
  void trim();

  bool negative_ = false;
  std::vector<uint32_t> limbs_;  // the lowest first, the highest is not 0; none for 0
};

}  // namespace sluice::rewards::math
