// The filter `tojson`, as transformers defines it: json.dumps().
#include <algorithm>
#include <cmath>

#include "text/jinja/print.h"
#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

class JsonWriter {
 public:
  JsonWriter(Context& context, const JsonStyle& style) : context_(context), style_(style) {}

  std::string write(const Value& value) {
    add(value);
    context_.charge_bytes(out_.size());
    return std::move(out_);
  }

 private:
  void add(const Value& value) {
    context_.charge();
    if (value.is_none()) {
      out_ += "null";
    } else if (const bool* boolean = value.as_boolean()) {
      out_ += *boolean ? "true" : "false";
    } else if (const auto integer = value.as_integer()) {
      put(std::to_string(*integer));
    } else if (const double* real = value.as_real()) {
      put(number(*real));
    } else if (const std::string* text = value.as_text()) {
      string(*text);
    } else if (const Dict* dict = value.as<const Dict>()) {
      object(*dict);
    } else {
      array(value);
    }
  }

  void array(const Value& value) {
    const List* list = value.as<const List>();
    const bool written = list != nullptr && list->kind <= List::Kind::Tuple;
    context_.require(written, "tojson: a '", type_name(value), "' is not JSON");
    if (list->items.empty()) {
      out_ += "[]";
      return;
    }
    open('[');
    for (size_t i = 0; i < list->items.size(); ++i) {
      if (i > 0) separate();
      add(list->items[i]);
    }
    close(']');
  }

  void object(const Dict& dict) {
    if (dict.items().empty()) {
      out_ += "{}";
      return;
    }
    std::vector<std::pair<std::string, const Value*>> members;
    for (const auto& [key, value] : dict.items()) members.emplace_back(key_text(key), &value);
    context_.charge_items(members.size());
    if (style_.sort_keys) {
      std::stable_sort(members.begin(), members.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    }
    open('{');
    for (size_t i = 0; i < members.size(); ++i) {
      if (i > 0) separate();
      string(members[i].first);
      put(style_.key_separator);
      add(*members[i].second);
    }
    close('}');
  }

  std::string key_text(const Value& key) const {
    if (const std::string* text = key.as_text()) return *text;
    if (key.is_none()) return "null";
    if (const bool* boolean = key.as_boolean()) return *boolean ? "true" : "false";
    if (const auto integer = key.as_integer()) return std::to_string(*integer);
    if (const double* real = key.as_real()) return number(*real);
    context_.fail("tojson: a '", type_name(key), "' cannot be a key of JSON");
  }

  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
    return repr(value);
  }

  void put(std::string_view text) {
    context_.charge_bytes(text.size(), out_.size());
    out_ += text;
  }

  void open(char bracket) {
    out_.push_back(bracket);
    ++level_;
    new_line();
  }
  void close(char bracket) {
    --level_;
    new_line();
    out_.push_back(bracket);
  }
  void separate() {
    put(style_.item_separator);
    new_line();
  }
  void new_line() {
    if (!style_.indent) return;
    const size_t size = style_.indent->size() * static_cast<size_t>(level_);
    context_.charge_bytes(size, out_.size());
    out_ += "\n";
    for (int i = 0; i < level_; ++i) out_ += *style_.indent;
  }

  void string(std::string_view text) {
    context_.charge_bytes(text.size(), out_.size());
    out_.push_back('"');
    for (size_t at = 0; at < text.size();) {
      const size_t length = character_length(text, at);
      character(text.substr(at, length), code_point(text, at, length));
      at += length;
    }
    out_.push_back('"');
  }

  void character(std::string_view bytes, char32_t code) {
    static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kLetters = "\"\\nrtfb";
    const size_t place = code < 0x80 ? kEscaped.find(static_cast<char>(code)) : std::string_view::npos;
    if (place != std::string_view::npos) {
      out_.push_back('\\');
      out_.push_back(kLetters[place]);
    } else if (code >= 0x10000 && style_.ascii) {
      unit(0xD800 + ((code - 0x10000) >> 10));
      unit(0xDC00 + ((code - 0x10000) & 0x3FF));
    } else if (code < 0x20 || (style_.ascii && code > 0x7E)) {
      unit(code);
    } else {
      out_.append(bytes);
    }
  }

  void unit(char32_t code) {
    out_ += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out_.push_back("0123456789abcdef"[(code >> shift) & 0xF]);
  }

  Context& context_;
  const JsonStyle& style_;
  std::string out_;
  int level_ = 0;
};

}  // namespace

std::string to_json(Context& context, const Value& value, const JsonStyle& style) {
  return JsonWriter(context, style).write(value);
}

}  // namespace sluice::text::jinja
