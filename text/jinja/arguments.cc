#include "text/jinja/arguments.h"

#include <algorithm>
#include <utility>

namespace sluice::text::jinja {

Bound::Bound(Context& context, std::string who, Arguments arguments, std::vector<std::string_view> names,
             size_t required)
    : context_(context), who_(std::move(who)), names_(std::move(names)), values_(names_.size()) {
  context_.require(arguments.positional.size() <= names_.size(), who_, " takes at most ", names_.size(),
                   " arguments, saw ", arguments.positional.size());
  for (size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = std::move(arguments.positional[i]);
  for (auto& [name, value] : arguments.named) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    context_.require(found != names_.end(), who_, " has no argument '", name, "'");
    auto& place = values_[static_cast<size_t>(found - names_.begin())];
    context_.require(!place, who_, ": '", name, "' is given twice");
    place = std::move(value);
  }
  for (size_t i = 0; i < required; ++i) {
    context_.require(values_[i].has_value(), who_, ": '", names_[i], "' is missing");
  }
}

const Value* Bound::get_some(size_t place) const {
  const Value* value = get(place);
  return value == nullptr || value->is_none() ? nullptr : value;
}

std::string Bound::text(size_t place) const {
  const std::string* text = get(place) == nullptr ? nullptr : get(place)->as_text();
  context_.require(text != nullptr, who_, ": '", names_[place], "' should be a text, saw a '",
                   get(place) == nullptr ? "missing value" : type_name(*get(place)), "'");
  return *text;
}

std::optional<std::string> Bound::text_or_nothing(size_t place) const {
  if (get_some(place) == nullptr) return std::nullopt;
  return text(place);
}

int64_t Bound::integer(size_t place, int64_t fallback) const {
  const Value* value = get(place);
  if (value == nullptr) return fallback;
  const auto integer = value->as_integer();
  context_.require(integer.has_value(), who_, ": '", names_[place], "' should be an integer, saw a '",
                   type_name(*value), "'");
  return *integer;
}

bool Bound::flag(size_t place, bool fallback) const {
  return get(place) == nullptr ? fallback : truth(*get(place));
}

}  // namespace sluice::text::jinja
