#include "rewards/internal/expression.h"

#include <charconv>
#include <numeric>

namespace sluice::rewards::internal {
namespace {

constexpr size_t kMaxLength = 256;
constexpr int kMaxDepth = 32;
constexpr int64_t kMax = 999'999'999'999'999'999;

using Value = std::optional<Fraction>;

Value fraction(int64_t top, int64_t bottom) {
  const auto fits = [](int64_t number) { return -kMax <= number && number <= kMax; };
  if (bottom == 0 || !fits(top) || !fits(bottom)) return std::nullopt;
  const int64_t common = std::gcd(top, bottom) * (bottom < 0 ? -1 : 1);
  return Fraction{top / common, bottom / common};
}

Value product(const Value& left, const Value& right) {
  int64_t top = 0, bottom = 0;
  if (!left || !right || __builtin_mul_overflow(left->top, right->top, &top) ||
      __builtin_mul_overflow(left->bottom, right->bottom, &bottom)) {
    return std::nullopt;
  }
  return fraction(top, bottom);
}

Value sum(const Value& left, const Value& right) {
  int64_t top = 0, other = 0, bottom = 0;
  if (!left || !right || __builtin_mul_overflow(left->top, right->bottom, &top) ||
      __builtin_mul_overflow(right->top, left->bottom, &other) || __builtin_add_overflow(top, other, &top) ||
      __builtin_mul_overflow(left->bottom, right->bottom, &bottom)) {
    return std::nullopt;
  }
  return fraction(top, bottom);
}

Value negative(const Value& value) { return product(value, Fraction{-1, 1}); }
Value inverse(const Value& value) { return value ? fraction(value->bottom, value->top) : std::nullopt; }

// A value that cannot be computed does not end the reading, text that cannot be read does.
class Parser {
 public:
  Parser(std::string_view text, Numbers kind) : text_(text), kind_(kind) {}

  std::optional<Expression> parse() {
    const Value value = terms();
    if (!good_ || peek() != '\0' || place_ != text_.size()) return std::nullopt;
    return Expression{.numbers = std::move(numbers_), .value = value};
  }

 private:
  // The next character behind blanks; 0 at the end.
  char peek() {
    while (place_ < text_.size() && std::string_view(" \t\r\n").find(text_[place_]) != std::string_view::npos)
      ++place_;
    return place_ < text_.size() ? text_[place_] : '\0';
  }
  bool take(char wanted) {
    if (peek() != wanted) return false;
    ++place_;
    return true;
  }

  Value terms() {
    Value value = factors();
    while (good_) {
      if (take('+')) {
        value = sum(value, factors());
      } else if (take('-')) {
        value = sum(value, negative(factors()));
      } else {
        break;
      }
    }
    return value;
  }

  Value factors() {
    Value value = factor();
    while (good_) {
      if (take('*')) {
        value = product(value, factor());
      } else if (take('/')) {
        value = product(value, inverse(factor()));
      } else {
        break;
      }
    }
    return value;
  }

  Value factor() {
    if (++depth_ > kMaxDepth) return unreadable();
    Value value;
    if (take('-')) {
      value = negative(factor());
    } else if (take('+')) {
      value = factor();
    } else if (take('(')) {
      value = terms();
      if (!take(')')) return unreadable();
    } else {
      value = number();
    }
    --depth_;
    return value;
  }

  Value number() {
    peek();
    const char* const begin = text_.data() + place_;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc() || value > kMax) return unreadable();
    place_ += static_cast<size_t>(end - begin);
    if (kind_ == Numbers::Decimal && text_.substr(place_).starts_with('.')) return decimal(value);
    numbers_.push_back(value);
    return Fraction{value, 1};
  }

  // What stands behind its whole part.
  Value decimal(int64_t value) {
    const size_t point = place_++;
    int64_t bottom = 1;
    for (; place_ < text_.size() && text_[place_] >= '0' && text_[place_] <= '9'; ++place_) {
      if (value > kMax / 10 || bottom > kMax / 10) return unreadable();
      value = 10 * value + (text_[place_] - '0');
      bottom *= 10;
    }
    return place_ == point + 1 ? unreadable() : fraction(value, bottom);
  }

  Value unreadable() {
    good_ = false;
    return std::nullopt;
  }

  const std::string_view text_;
  const Numbers kind_;
  size_t place_ = 0;
  int depth_ = 0;
  bool good_ = true;
  std::vector<int64_t> numbers_;
};

}  // namespace

std::optional<Expression> parse_expression(std::string_view text, Numbers numbers) {
  if (text.size() > kMaxLength) return std::nullopt;
  return Parser(text, numbers).parse();
}

}  // namespace sluice::rewards::internal
