#include "rewards/math/compare.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "rewards/math/evaluate.h"
#include "rewards/math/normal_form.h"
#include "rewards/math/units.h"

namespace sluice::rewards::math {
namespace {

constexpr uint64_t kTrials = 4;
constexpr size_t kMaxElements = 64;  // of a list, each of which is compared with each of the other

class Comparison {
 public:
  Comparison(const Tolerance& tolerance, Budget& budget) : tolerance_(tolerance), budget_(budget) {}

  bool same(const Expression& given, const Expression& gold) {
    if (!budget_.spend()) return false;
    const bool given_relates = given.kind == Kind::Relation, gold_relates = gold.kind == Kind::Relation;
    if (given_relates && gold_relates) return same_relation(given, gold);
    if (given_relates) return named_value_is(given, gold, /*is_gold=*/false);
    if (gold_relates) return named_value_is(gold, given, /*is_gold=*/true);
    if (given.kind == Kind::List || gold.kind == Kind::List) return same_list(given, gold);
    if (given.kind == Kind::Quantity || gold.kind == Kind::Quantity) return same_quantity(given, gold);
    if (holds_parts(given) || holds_parts(gold)) return same_parts(given, gold);
    if (given.kind == Kind::Words || gold.kind == Kind::Words) {
      return given.kind == gold.kind && given.name == gold.name;
    }
    const std::string symbol = symbol_of(gold);
    return symbol.empty() ? same_value(given, gold) : symbol == symbol_of(given);
  }

 private:
  // In order, with the same brackets.
  bool same_parts(const Expression& given, const Expression& gold) {
    return given.kind == gold.kind && given.name == gold.name && given.parts.size() == gold.parts.size() &&
           std::equal(given.parts.begin(), given.parts.end(), gold.parts.begin(),
                      [&](const auto& a, const auto& b) { return same(a, b); });
  }
  static bool holds_parts(const Expression& expression) {
    return expression.kind == Kind::Tuple || expression.kind == Kind::Matrix ||
           expression.kind == Kind::Numeral;
  }

  // Each of one is one of the other.
  bool same_list(const Expression& given, const Expression& gold) {
    if (given.kind != gold.kind || given.parts.size() != gold.parts.size() ||
        gold.parts.size() > kMaxElements)
      return false;
    std::vector<bool> used(gold.parts.size(), false);
    return std::ranges::all_of(given.parts, [&](const Expression& part) {
      for (size_t i = 0; i < used.size(); ++i) {
        if (used[i] || !same(part, gold.parts[i])) continue;
        used[i] = true;
        return true;
      }
      return false;
    });
  }

  // A unit may be left out. Where both have one, they are one or what converts into it.
  bool same_quantity(const Expression& given, const Expression& gold) {
    if (given.kind == gold.kind) {
      const Unit from = unit_named(given.name), to = unit_named(gold.name);
      if (from.kind != to.kind) return false;
      return same(scaled(given.parts[0], from.factor), scaled(gold.parts[0], to.factor));
    }
    const bool is_gold = gold.kind == Kind::Quantity;
    const Expression& with = is_gold ? gold : given;
    const Expression& bare = is_gold ? given : gold;
    const auto as_bare = [&](const Expression& value) {
      return is_gold ? same(bare, value) : same(value, bare);
    };
    if (as_bare(with.parts[0])) return true;
    return with.name == "percent" && as_bare(scaled(with.parts[0], *Rational::make(1, 100)));
  }
  static Expression scaled(const Expression& value, const Rational& factor) {
    return Expression::of(Kind::Product, {value, {.kind = Kind::Number, .number = factor}});
  }

  // "x = 5" where only 5 is asked for, or the other way round. All that is said to be equal has to be.
  bool named_value_is(const Expression& relation, const Expression& value, bool is_gold) {
    const auto sides = values_of(relation);
    return !sides.empty() && std::ranges::all_of(sides, [&](const Expression* side) {
      return is_gold ? same(value, *side) : same(*side, value);
    });
  }

  bool same_relation(const Expression& given, const Expression& gold) {
    if (is_named(given) && is_named(gold) && is_same_name(given.parts[0], gold.parts[0])) {
      const auto sides = values_of(given), right = values_of(gold);
      if (!sides.empty() && !right.empty() && std::ranges::all_of(sides, [&](const auto* a) {
            return std::ranges::all_of(right, [&](const auto* b) { return same(*a, *b); });
          })) {
        return true;
      }
    }
    return given.name == gold.name && given.name.size() == 1 && same_solutions(given, gold);
  }
  bool is_same_name(const Expression& given, const Expression& gold) {
    if (given.kind != gold.kind || given.name != gold.name || given.parts.size() != gold.parts.size())
      return false;
    return std::equal(given.parts.begin(), given.parts.end(), gold.parts.begin(),
                      [&](const auto& a, const auto& b) { return is_same_name(a, b); });
  }

  // left - right of one is that of the other times a number; of an inequality, times one above 0.
  bool same_solutions(const Expression& given, const Expression& gold) {
    const auto first_given = difference(given, 0), first_gold = difference(gold, 0);
    if (!first_given || !first_gold || is_zero(*first_given) || is_zero(*first_gold)) return false;
    bool varies = false;
    for (uint64_t trial = 1; trial < kTrials; ++trial) {
      const auto now_given = difference(given, trial), now_gold = difference(gold, trial);
      if (!now_given || !now_gold) return false;
      const auto left = product(*now_given, *first_gold), right = product(*now_gold, *first_given);
      if (!left || !right || !math::same(*left, *right)) return false;
      varies = varies || !math::same(*now_gold, *first_gold);
    }
    const bool ordered = given.name == "<" || given.name == "l";
    return varies && (!ordered || first_given->near.real() * first_gold->near.real() > 0.0);
  }
  MaybeValue difference(const Expression& relation, uint64_t trial) {
    const auto left = value_at(relation.parts[0], trial, budget_),
               right = value_at(relation.parts[1], trial, budget_);
    const auto minus = right ? negative(*right) : std::nullopt;
    return left && minus ? sum(*left, *minus) : std::nullopt;
  }
  static bool is_zero(const Value& value) { return math::same(value, Value(Rational(0))); }

  bool same_value(const Expression& given, const Expression& gold) {
    const uint64_t trials = has_variable(given) || has_variable(gold) ? kTrials : 1;
    for (uint64_t trial = 0; trial < trials; ++trial) {
      const auto left = value_at(given, trial, budget_), right = value_at(gold, trial, budget_);
      if (!left || !right || !(math::same(*left, *right) || (trials == 1 && is_close(*left, *right))))
        return false;
    }
    return true;
  }
  bool is_close(const Value& given, const Value& gold) const {
    const double allowed = std::max(tolerance_.absolute, tolerance_.relative * std::abs(gold.near));
    return allowed > 0.0 && std::abs(given.near - gold.near) <= allowed;
  }

  const Tolerance tolerance_;
  Budget& budget_;
};

}  // namespace

bool is_same(const Expression& given, const Expression& gold, const Tolerance& tolerance, Budget& budget) {
  Comparison comparison(tolerance, budget);
  return comparison.same(normal_form(given), normal_form(gold)) && !budget.exhausted();
}

}  // namespace sluice::rewards::math
