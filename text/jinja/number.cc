#include "text/jinja/number.h"

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

// Without the underscores; nothing when one does not stand between two digits.
std::optional<std::string> without_underscores(std::string_view text) {
  const auto digit = [&](size_t i) {
    return i < text.size() && std::isxdigit(static_cast<unsigned char>(text[i])) != 0;
  };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out.push_back(text[i]);
    } else if (i == 0 || !digit(i - 1) || !digit(i + 1)) {
      return std::nullopt;
    }
  }
  return out;
}

// Takes "0x" and its like off the front where the base has it; base 0 takes its base from the prefix.
bool take_prefix(std::string& digits, int64_t& base) {
  const char letter = digits.size() > 1 && digits[0] == '0' ? static_cast<char>(digits[1] | 0x20) : ' ';
  const int64_t named = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
  if (named != 0 && (base == named || base == 0)) {
    base = named;
    digits.erase(0, 2);
    if (!digits.empty() && digits[0] == '_') digits.erase(0, 1);
  } else if (base == 0) {
    base = 10;
    return digits.find_first_not_of("0_") == std::string::npos || digits[0] != '0';
  }
  return true;
}

}  // namespace

std::optional<int64_t> parse_integer(Context& context, std::string_view text, int64_t base) {
  context.require(base == 0 || (base >= 2 && base <= 36), "int: a base of ", base);
  std::string digits(strip_space(text, Sides::Both));
  const bool negative = digits.starts_with('-');
  if (negative || digits.starts_with('+')) digits.erase(0, 1);
  if (!take_prefix(digits, base)) return std::nullopt;
  const auto plain = without_underscores(digits);
  if (!plain || plain->empty() || plain->front() == '-') return std::nullopt;
  int64_t value = 0;
  const std::string signed_text = (negative ? "-" : "") + *plain;
  const auto [end, error] = std::from_chars(signed_text.data(), signed_text.data() + signed_text.size(),
                                            value, static_cast<int>(base));
  if (end != signed_text.data() + signed_text.size() || error == std::errc::invalid_argument)
    return std::nullopt;
  context.require(error == std::errc(), "int: ", signed_text.substr(0, 40), " is beyond 64 bits");
  return value;
}

std::optional<double> parse_real(std::string_view text) {
  const auto plain = without_underscores(strip_space(text, Sides::Both));
  if (!plain || plain->empty()) return std::nullopt;
  const bool sign = plain->front() == '+';
  const char* begin = plain->data() + (sign ? 1 : 0);
  const char* const last = plain->data() + plain->size();
  if (sign && begin < last && (*begin == '-' || *begin == '+')) return std::nullopt;
  double value = 0;
  const auto [end, error] = std::from_chars(begin, last, value);
  if (end != last || error == std::errc::invalid_argument) return std::nullopt;
  // from_chars leaves the value alone when it is out of range; strtod gives infinity or zero, as Python does.
  return error == std::errc() ? value : std::strtod(begin, nullptr);
}

double round_half_even(double value, int digits) {
  if (digits < 0) {
    const double scale = std::pow(10.0, -digits);
    return std::nearbyint(value / scale) * scale;
  }
  // The C library rounds the exact value of the double.
  const int size = std::snprintf(nullptr, 0, "%.*f", digits, value);
  std::string text(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return std::strtod(text.c_str(), nullptr);
}

}  // namespace sluice::text::jinja
