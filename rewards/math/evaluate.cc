#include "rewards/math/evaluate.h"

#include <algorithm>
#include <cstdlib>
#include <numbers>
#include <string_view>

#include "base/philox.h"

namespace sluice::rewards::math {
namespace {

constexpr uint64_t kSeed = 0x736c75696365;
constexpr int64_t kDenominator = 1 << 16;
constexpr int64_t kLowest = kDenominator * 7 / 10, kRange = kDenominator * 3 / 10;

uint64_t hash_of(std::string_view name) {  // FNV-1a
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

Value drawn(std::string_view name, uint64_t trial) {
  const auto bits = random_bits(kSeed, RandomUse::Data, trial, hash_of(name));
  const int64_t top = kLowest + static_cast<int64_t>(bits % static_cast<uint64_t>(kRange));
  return Value(*Rational::make(top, kDenominator));
}

Value close(double value) { return {value, 0x1p-52 * value}; }

MaybeValue constant(const std::string& name) {
  if (name == "pi") return close(std::numbers::pi);
  if (name == "e") return close(std::numbers::e);
  if (name == "i") return Value({0.0, 1.0}, 0.0);
  return std::nullopt;
}

// What the two may cost together, if both are exact.
int64_t cost(const Value& left, const Value& right) {
  return left.exact && right.exact ? 1 + left.exact->num_limbs() * right.exact->num_limbs() / 2 : 1;
}

// What an exact power costs, or a factorial, for one limb: numbers grow no longer than Rational lets them.
int64_t squared(const Value& exponent) {
  const auto whole = exponent.whole();
  const int64_t size = std::min(whole ? std::abs(*whole) : 1, Rational::kMaxLimbs);
  return 1 + size * size;
}

class Evaluation {
 public:
  Evaluation(uint64_t trial, Budget& budget) : trial_(trial), budget_(budget) {}

  MaybeValue of(const Expression& expression) {
    if (!budget_.spend()) return std::nullopt;
    switch (expression.kind) {
      case Kind::Number:
        return Value(expression.number);
      case Kind::Constant:
        return constant(expression.name);
      case Kind::Variable:
        return drawn(expression.name, trial_);
      case Kind::Sum:
        return fold(expression, [](const Value& a, const Value& b) { return math::sum(a, b); });
      case Kind::Product:
        return fold(expression, [](const Value& a, const Value& b) { return math::product(a, b); });
      case Kind::Function:
        return function(expression);
      case Kind::Negative:
      case Kind::Inverse:
      case Kind::Factorial:
      case Kind::Degrees:
        return of_one(expression);
      case Kind::Power:
      case Kind::Root:
      case Kind::Binomial:
        return of_two(expression);
      default:
        return std::nullopt;
    }
  }

 private:
  template <class Operation>
  MaybeValue fold(const Expression& expression, const Operation& operation) {
    MaybeValue total = of(expression.parts.front());
    for (size_t i = 1; i < expression.parts.size() && total; ++i) {
      const auto part = of(expression.parts[i]);
      if (!part || !budget_.spend(cost(*total, *part))) return std::nullopt;
      total = operation(*total, *part);
    }
    return total;
  }

  MaybeValue of_one(const Expression& expression) {
    const auto value = of(expression.parts[0]);
    if (!value || !budget_.spend(cost(*value, *value))) return std::nullopt;
    if (expression.kind == Kind::Negative) return math::negative(*value);
    if (expression.kind == Kind::Inverse) return math::inverse(*value);
    if (expression.kind == Kind::Degrees) return math::product(*value, close(std::numbers::pi / 180.0));
    return budget_.spend(squared(*value) / 8) ? math::factorial(*value) : std::nullopt;
  }

  MaybeValue of_two(const Expression& expression) {
    const auto first = of(expression.parts[0]), second = of(expression.parts[1]);
    if (!first || !second) return std::nullopt;
    if (expression.kind == Kind::Root) return math::root(*first, *second);
    if (expression.kind == Kind::Binomial) {
      return budget_.spend(squared(*first)) ? math::binomial(*first, *second) : std::nullopt;
    }
    const int64_t limbs = first->exact ? first->exact->num_limbs() : 0;
    return budget_.spend(limbs * limbs * squared(*second)) ? math::power(*first, *second) : std::nullopt;
  }

  MaybeValue function(const Expression& expression) {
    const auto value = of(expression.parts[0]);
    if (!value) return std::nullopt;
    if (expression.name != "log") return math::apply(expression.name, *value);
    const auto base = expression.parts.size() > 1 ? of(expression.parts[1]) : drawn("\\log", trial_);
    const auto top = math::apply("ln", *value), bottom = base ? math::apply("ln", *base) : std::nullopt;
    const auto inverted = bottom ? math::inverse(*bottom) : std::nullopt;
    return top && inverted ? math::product(*top, *inverted) : std::nullopt;
  }

  const uint64_t trial_;
  Budget& budget_;
};

}  // namespace

MaybeValue value_at(const Expression& expression, uint64_t trial, Budget& budget) {
  return Evaluation(trial, budget).of(expression);
}

bool has_variable(const Expression& expression) {
  if (expression.kind == Kind::Variable) return true;
  for (const auto& part : expression.parts) {
    if (has_variable(part)) return true;
  }
  return false;
}

}  // namespace sluice::rewards::math
