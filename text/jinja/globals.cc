#include "text/jinja/globals.h"

#include <time.h>

#include <array>
#include <map>

#include "text/jinja/arguments.h"
#include "text/jinja/operators.h"
#include "text/jinja/print.h"

namespace sluice::text::jinja {
namespace {

constexpr int64_t kMaxRange = 100'000;  // of Jinja's own sandbox

// How many numbers range(first, last, step) has; at most kMaxRange + 1 is told apart.
int64_t range_size(int64_t first, int64_t last, int64_t step) {
  if (step > 0 ? first >= last : first <= last) return 0;
  const auto distance = step > 0 ? static_cast<uint64_t>(last) - static_cast<uint64_t>(first)
                                 : static_cast<uint64_t>(first) - static_cast<uint64_t>(last);
  const uint64_t stride = step > 0 ? static_cast<uint64_t>(step) : uint64_t{0} - static_cast<uint64_t>(step);
  return static_cast<int64_t>(std::min<uint64_t>((distance - 1) / stride, kMaxRange)) + 1;
}

Value range(Context& context, Arguments arguments) {
  const size_t count = arguments.positional.size();
  const Bound bound(context, "range()", std::move(arguments), {"start", "stop", "step"}, 1);
  const int64_t first = count == 1 ? 0 : bound.integer(0, 0);
  const int64_t last = bound.integer(count == 1 ? 0 : 1, 0);
  const int64_t step = bound.integer(2, 1);
  context.require(step != 0, "range(): a step of 0");
  const int64_t size = range_size(first, last, step);
  context.require(size <= kMaxRange, "range(): more than ", kMaxRange, " numbers");
  context.charge_items(static_cast<size_t>(size));
  auto list = std::make_shared<List>();
  list->kind = List::Kind::Range;
  // The numbers fit in 64 bits, the way to them may not.
  for (uint64_t i = 0; i < static_cast<uint64_t>(size); ++i) {
    const uint64_t number = static_cast<uint64_t>(first) + i * static_cast<uint64_t>(step);
    list->items.push_back(Value::integer(static_cast<int64_t>(number)));
  }
  list->shown = "range(" + std::to_string(first) + ", " + std::to_string(last) +
                (step == 1 ? "" : ", " + std::to_string(step)) + ")";
  return Value(Value::Data(std::shared_ptr<const List>(std::move(list))));
}

// dict(): another dictionary or pairs, then names.
std::shared_ptr<Dict> collect(Context& context, const char* who, const Arguments& arguments) {
  context.require(arguments.positional.size() <= 1, who, " takes at most one argument without a name");
  auto dict = std::make_shared<Dict>();
  for (const Value& source : arguments.positional) {
    if (const Dict* other = source.as<const Dict>()) {
      for (const auto& [key, value] : other->items()) dict->set(context, key, value);
      continue;
    }
    for (const Value& item : to_vector(context, source)) {
      const auto pair = to_vector(context, item);
      context.require(pair.size() == 2, who, " takes pairs, saw ", pair.size(), " values");
      dict->set(context, pair[0], pair[1]);
    }
  }
  for (const auto& [name, value] : arguments.named) dict->set(context, Value::text(name), value);
  return dict;
}

Value make_dict_function(Context& context, Arguments arguments) {
  return make_dict(collect(context, "dict()", arguments));
}

Value make_namespace(Context& context, Arguments arguments) {
  auto space = std::make_shared<Namespace>();
  const auto attributes = collect(context, "namespace()", arguments);
  for (const auto& [key, value] : attributes->items()) {
    context.require(key.as_text() != nullptr && !key.as_text()->starts_with("_"),
                    "namespace(): the name of an attribute is a text that does not begin with '_'");
    space->attributes.emplace_back(*key.as_text(), value);
  }
  // A namespace can hold itself.
  context.at_end([space] { space->attributes.clear(); });
  return Value(Value::Data(std::move(space)));
}

Value raise_exception(Context& context, Arguments arguments) {
  const Bound bound(context, "raise_exception()", std::move(arguments), {"message"}, 1);
  context.fail("the template says: ", to_text(context, *bound.get(0)));
}

Value strftime_now(Context& context, Arguments arguments) {
  const Bound bound(context, "strftime_now()", std::move(arguments), {"format"}, 1);
  const std::string format = bound.text(0);
  if (format.empty()) return Value::text("");
  const time_t now = time(nullptr);
  tm local{};
  localtime_r(&now, &local);
  std::array<char, 1024> out;
  const size_t size = strftime(out.data(), out.size(), format.c_str(), &local);
  context.require(size > 0, "strftime_now(): '", format.substr(0, 80), "' gives no date of up to 1023 bytes");
  return Value::text(std::string(out.data(), size));
}

}  // namespace

std::optional<Value> find_global(Context& context, std::string_view name) {
  static const std::map<std::string, Value (*)(Context&, Arguments), std::less<>> kGlobals = {
      {"range", range},
      {"dict", make_dict_function},
      {"namespace", make_namespace},
      {"raise_exception", raise_exception},
      {"strftime_now", strftime_now},
  };
  const auto found = kGlobals.find(name);
  if (found == kGlobals.end()) return std::nullopt;
  return make_function(context, found->first, found->second, 0);
}

}  // namespace sluice::text::jinja
