// The arguments of a filter, a test, a method or a function, by the names that it gives them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace sluice::text::jinja {

class Bound {
 public:
  // Fails, in the name of `who`, for too many arguments, an unknown or doubled name, and when one of the
  // first `required` is missing.
  Bound(Context& context, std::string who, Arguments arguments, std::vector<std::string_view> names,
        size_t required = 0);

  // Null when it was not given.
  const Value* get(size_t place) const { return values_[place] ? &*values_[place] : nullptr; }
  // None counts as not given.
  const Value* get_some(size_t place) const;
  // Each fails for a value of another type.
  std::string text(size_t place) const;
  std::optional<std::string> text_or_nothing(size_t place) const;
  int64_t integer(size_t place, int64_t fallback) const;
  bool flag(size_t place, bool fallback = false) const;

 private:
  Context& context_;
  const std::string who_;
  const std::vector<std::string_view> names_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace sluice::text::jinja
