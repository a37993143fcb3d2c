// calculator: exact arithmetic over fractions.
//
//   48/2            24
//   0.2*50          10
//   (1.5 + 2) / 7   0.5
//   10/3            10/3 (about 3.33333)
//   1/0             error: it divides by 0, or has more than 18 digits
#include <cstdlib>
#include <sstream>

#include "rewards/internal/expression.h"
#include "rewards/tools/entries.h"

namespace sluice::rewards::tools {
namespace {

using internal::Fraction;

constexpr int kMaxDecimals = 18;
constexpr const char* kArgument = "expression";

// As a decimal where it has one that ends.
std::string written(const Fraction& value) {
  std::string decimals;
  const auto bottom = static_cast<uint64_t>(value.bottom);
  const auto top = static_cast<uint64_t>(std::llabs(value.top));
  uint64_t rest = top % bottom;
  for (; rest != 0 && decimals.size() < kMaxDecimals; rest = rest * 10 % bottom) {
    decimals += static_cast<char>('0' + rest * 10 / bottom);
  }
  std::ostringstream out;
  if (rest != 0) {
    out << value.top << '/' << value.bottom << " (about "
        << static_cast<double>(value.top) / static_cast<double>(value.bottom) << ')';
  } else {
    out << (value.top < 0 ? "-" : "") << top / bottom << (decimals.empty() ? "" : ".") << decimals;
  }
  return out.str();
}

class Calculator final : public Tool {
 public:
  explicit Calculator(const ToolSpec& spec) : name_(spec.name.empty() ? spec.use : spec.name) {}

  const std::string& name() const override { return name_; }
  Json description() const override {
    return takes_text(name_, "Computes an expression exactly.", kArgument,
                      "Numbers, + - * / and parentheses, such as (1.5 + 2) * 4");
  }
  ToolAnswer call(const Json& arguments) override {
    const auto expression =
        internal::parse_expression(text_argument(arguments, kArgument), internal::Numbers::Decimal);
    if (!expression) return {"error: no expression of numbers, + - * / and parentheses", /*failed=*/true};
    if (!expression->value) return {"error: it divides by 0, or has more than 18 digits", /*failed=*/true};
    return {written(*expression->value)};
  }

 private:
  const std::string name_;
};

}  // namespace

std::unique_ptr<Tool> make_calculator(const ToolSpec& spec) { return std::make_unique<Calculator>(spec); }

}  // namespace sluice::rewards::tools
