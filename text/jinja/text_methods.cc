// The methods of texts.
#include <algorithm>

#include "text/jinja/arguments.h"
#include "text/jinja/methods.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

Value texts(Context& context, std::vector<std::string> parts) {
  std::vector<Value> items;
  for (std::string& part : parts) items.push_back(Value::text(std::move(part)));
  return make_list(context, std::move(items));
}

template <Sides sides>
Value strip_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "strip()", std::move(arguments), {"chars"});
  return Value::text(std::string(strip(context, *self.as_text(), bound.text_or_nothing(0), sides)));
}

template <bool from_right>
Value split_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "split()", std::move(arguments), {"sep", "maxsplit"});
  return texts(context,
               split(context, *self.as_text(), bound.text_or_nothing(0), bound.integer(1, -1), from_right));
}

Value split_lines_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "splitlines()", std::move(arguments), {"keepends"});
  return texts(context, split_lines(context, *self.as_text(), bound.flag(0)));
}

// One text or a tuple of them; `at_end` says which end of the text is looked at.
template <bool at_end>
Value starts_or_ends(Context& context, const Value& self, Arguments arguments) {
  const char* who = at_end ? "endswith()" : "startswith()";
  const Bound bound(context, who, std::move(arguments), {"part"}, 1);
  const List* list = bound.get(0)->as<const List>();
  const bool tuple = list != nullptr && list->kind == List::Kind::Tuple;
  const std::vector<Value> parts = tuple ? list->items : std::vector<Value>{*bound.get(0)};
  for (const Value& part : parts) {
    context.require(part.as_text() != nullptr, who, " looks for a text, saw a '", type_name(part), "'");
    context.charge_bytes(part.as_text()->size());
    const bool found =
        at_end ? self.as_text()->ends_with(*part.as_text()) : self.as_text()->starts_with(*part.as_text());
    if (found) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Value replace_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "replace()", std::move(arguments), {"old", "new", "count"}, 2);
  return Value::text(replace(context, *self.as_text(), bound.text(0), bound.text(1), bound.integer(2, -1)));
}

template <std::string (*map)(std::string_view)>
Value case_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "a method for case", std::move(arguments), {});
  context.charge_bytes(self.as_text()->size());
  return Value::text(map(*self.as_text()));
}

template <bool (*test)(std::string_view)>
Value test_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "a test of characters", std::move(arguments), {});
  context.charge_bytes(self.as_text()->size());
  return Value::boolean(test(*self.as_text()));
}

template <bool (*test)(char32_t)>
bool all_are(std::string_view text) {
  return all_characters(text, test);
}

Value join_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "join()", std::move(arguments), {"items"}, 1);
  std::string out;
  bool first = true;
  for (const Value& item : to_vector(context, *bound.get(0))) {
    context.require(item.as_text() != nullptr, "join() takes texts, saw a '", type_name(item), "'");
    context.charge_bytes(item.as_text()->size() + self.as_text()->size(), out.size());
    if (!first) out += *self.as_text();
    first = false;
    out += *item.as_text();
  }
  return Value::text(std::move(out));
}

// The bytes of the characters from argument 1 up to argument 2, and how many characters stand before them.
std::pair<std::string_view, int64_t> window(const std::string& text, const Bound& bound) {
  const auto starts = character_starts(text);
  const auto length = static_cast<int64_t>(starts.size()) - 1;
  const auto place = [&](size_t argument, int64_t fallback) {
    const int64_t wanted = bound.get_some(argument) == nullptr ? fallback : bound.integer(argument, fallback);
    return std::clamp<int64_t>(wanted < 0 ? wanted + length : wanted, 0, length);
  };
  const int64_t begin = place(1, 0);
  const int64_t end = std::max(begin, place(2, length));
  const size_t offset = starts[static_cast<size_t>(begin)];
  return {std::string_view(text).substr(offset, starts[static_cast<size_t>(end)] - offset), begin};
}

template <bool last, bool must>
Value find_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "find()", std::move(arguments), {"part", "start", "end"}, 1);
  const std::string part = bound.text(0);
  context.charge_bytes(self.as_text()->size());
  const auto [text, before] = window(*self.as_text(), bound);
  const size_t at = last ? find_last(context, text, part) : find(text, part);
  context.require(!must || at != std::string_view::npos, "index(): there is no such text");
  if (at == std::string_view::npos) return Value::integer(-1);
  return Value::integer(before + count_characters(text.substr(0, at)));
}

Value count_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "count()", std::move(arguments), {"part", "start", "end"}, 1);
  const std::string part = bound.text(0);
  context.charge_bytes(self.as_text()->size());
  const std::string_view text = window(*self.as_text(), bound).first;
  if (part.empty()) return Value::integer(count_characters(text) + 1);
  int64_t count = 0;
  for (size_t at = find(text, part); at != std::string_view::npos; at = find(text, part, at + part.size())) {
    context.charge();
    ++count;
  }
  return Value::integer(count);
}

template <bool prefix>
Value remove_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, prefix ? "removeprefix()" : "removesuffix()", std::move(arguments), {"part"}, 1);
  const std::string part = bound.text(0);
  std::string text = *self.as_text();
  context.charge_bytes(text.size());
  if (prefix && text.starts_with(part)) text.erase(0, part.size());
  if (!prefix && text.ends_with(part)) text.resize(text.size() - part.size());
  return Value::text(std::move(text));
}

template <bool last>
Value partition_method(Context& context, const Value& self, Arguments arguments) {
  const Bound bound(context, "partition()", std::move(arguments), {"sep"}, 1);
  const std::string part = bound.text(0);
  const std::string& text = *self.as_text();
  context.require(!part.empty(), "partition(): the separator is empty");
  context.charge_bytes(text.size());
  const size_t at = last ? find_last(context, text, part) : find(text, part);
  std::vector<Value> parts;
  if (at != std::string_view::npos) {
    parts = {Value::text(text.substr(0, at)), Value::text(part), Value::text(text.substr(at + part.size()))};
  } else {
    parts = {Value::text(""), Value::text("")};
    parts.insert(last ? parts.end() : parts.begin(), Value::text(text));
  }
  return make_tuple(context, std::move(parts));
}

}  // namespace

const Methods& text_methods() {
  static const Methods kMethods = {{"strip", strip_method<Sides::Both>},
                                   {"lstrip", strip_method<Sides::Left>},
                                   {"rstrip", strip_method<Sides::Right>},
                                   {"split", split_method<false>},
                                   {"rsplit", split_method<true>},
                                   {"splitlines", split_lines_method},
                                   {"startswith", starts_or_ends<false>},
                                   {"endswith", starts_or_ends<true>},
                                   {"replace", replace_method},
                                   {"join", join_method},
                                   {"lower", case_method<lower>},
                                   {"upper", case_method<upper>},
                                   {"title", case_method<title>},
                                   {"capitalize", case_method<capitalize>},
                                   {"islower", test_method<is_lower>},
                                   {"isupper", test_method<is_upper>},
                                   {"isspace", test_method<all_are<is_space>>},
                                   {"isdigit", test_method<all_are<is_digit>>},
                                   {"isalpha", test_method<all_are<is_letter>>},
                                   {"isalnum", test_method<all_are<is_letter_or_digit>>},
                                   {"find", find_method<false, false>},
                                   {"rfind", find_method<true, false>},
                                   {"index", find_method<false, true>},
                                   {"rindex", find_method<true, true>},
                                   {"count", count_method},
                                   {"removeprefix", remove_method<true>},
                                   {"removesuffix", remove_method<false>},
                                   {"partition", partition_method<false>},
                                   {"rpartition", partition_method<true>}};
  return kMethods;
}

}  // namespace sluice::text::jinja
