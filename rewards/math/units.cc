#include "rewards/math/units.h"

#include <algorithm>

namespace sluice::rewards::math {
namespace {

struct Known {
  std::string_view name;   // the one spelling
  std::string_view other;  // another spelling; a plural s is taken off
  std::string_view word;   // in full
  std::string_view kind;
  int64_t top, bottom = 1;
};

constexpr int64_t kMaxPower = 9;

constexpr Known kUnits[] = {
    {"mm", "millimetre", "millimeter", "length", 1, 1000},
    {"cm", "centimetre", "centimeter", "length", 1, 100},
    {"dm", "decimetre", "decimeter", "length", 1, 10},
    {"m", "metre", "meter", "length", 1},
    {"km", "kilometre", "kilometer", "length", 1000},
    {"in", "inches", "inch", "length", 254, 10000},
    {"ft", "feet", "foot", "length", 3048, 10000},
    {"yd", "", "yard", "length", 9144, 10000},
    {"mi", "", "mile", "length", 1609344, 1000},
    {"mg", "", "milligram", "mass", 1, 1000},
    {"g", "", "gram", "mass", 1},
    {"kg", "", "kilogram", "mass", 1000},
    {"oz", "", "ounce", "mass", 45359237, 1600000},
    {"lb", "", "pound", "mass", 45359237, 100000},
    {"s", "sec", "second", "time", 1},
    {"min", "", "minute", "time", 60},
    {"h", "hr", "hour", "time", 3600},
    {"day", "", "day", "time", 86400},
    {"week", "", "week", "time", 604800},
    {"ml", "millilitre", "milliliter", "volume", 1, 1000},
    {"l", "litre", "liter", "volume", 1},
    {"cent", "", "cent", "dollars", 1, 100},
    {"dollar", "usd", "dollar", "dollars", 1},
    {"degree", "deg", "degree", "angle", 1},
    {"radian", "rad", "radian", "radians", 1},
    {"mph", "", "mph", "miles an hour", 1},
    {"kph", "", "kph", "kilometers an hour", 1},
    {"percent", "", "percent", "percent", 1},
};

const Known* find(std::string_view word) {
  const auto named = [&](std::string_view name) {
    return std::ranges::find_if(kUnits, [&](const Known& unit) {
      return !name.empty() && (unit.name == name || unit.other == name || unit.word == name);
    });
  };
  auto found = named(word);
  if (found == std::end(kUnits) && word.size() > 2 && word.ends_with('s')) {
    found = named(word.substr(0, word.size() - 1));
  }
  return found == std::end(kUnits) ? nullptr : found;
}

bool take_prefix(std::string_view& words, std::string_view prefix) {
  if (!words.starts_with(prefix)) return false;
  words.remove_prefix(prefix.size());
  return true;
}

bool take_suffix(std::string_view& words, std::string_view suffix) {
  if (!words.ends_with(suffix)) return false;
  words.remove_suffix(suffix.size());
  return true;
}

}  // namespace

Unit unit_of(std::string_view words, int64_t power) {
  if (take_prefix(words, "square ") || take_prefix(words, "sq ") || take_suffix(words, " squared"))
    power *= 2;
  if (take_prefix(words, "cubic ") || take_prefix(words, "cu ") || take_suffix(words, " cubed")) power *= 3;
  power = std::min(power, kMaxPower);
  const std::string suffix = power == 1 ? "" : "^" + std::to_string(power);
  if (const Known* known = find(words)) {
    const auto one = Rational::make(known->top, known->bottom);
    if (const auto factor = math::power(*one, power)) {
      return {std::string(known->name) + suffix, std::string(known->kind) + suffix, *factor};
    }
  }
  if (words.size() > 2 && words.ends_with('s')) words.remove_suffix(1);
  const std::string name = std::string(words) + suffix;
  return {name, name, 1};
}

Unit unit_named(std::string_view name) {
  const size_t mark = name.find('^');
  return mark == std::string_view::npos ? unit_of(name) : unit_of(name.substr(0, mark), name.back() - '0');
}

bool is_unit_symbol(std::string_view letters) {
  const Known* known = find(letters);
  return known != nullptr && (known->name == letters || known->other == letters);
}

std::optional<int64_t> scale_of(std::string_view word) {
  if (word == "dozen") return 12;
  if (word == "hundred") return 100;
  if (word == "thousand") return 1'000;
  if (word == "million") return 1'000'000;
  if (word == "billion") return 1'000'000'000;
  if (word == "trillion") return 1'000'000'000'000;
  return std::nullopt;
}

bool changes_meaning(std::string_view word) {
  constexpr std::string_view kWords[] = {"or",        "and",  "not",  "no",    "minus", "plus",  "times",
                                         "over",      "to",   "less", "more",  "than",  "mod",   "modulo",
                                         "factorial", "half", "root", "base",  "of",    "below", "above",
                                         "between",   "but",  "if",   "power", "except"};
  return std::ranges::find(kWords, word) != std::end(kWords);
}

}  // namespace sluice::rewards::math
