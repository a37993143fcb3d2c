#include "text/jinja/print.h"

#include <array>
#include <charconv>
#include <cmath>

#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

void append_hex(std::string& out, char32_t code, int digits) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    out.push_back("0123456789abcdef"[(code >> shift) & 0xF]);
  }
}

void append_escaped(std::string& out, char32_t code) {
  if (code < 0x100) {
    append_hex(out += "\\x", code, 2);
  } else if (code < 0x10000) {
    append_hex(out += "\\u", code, 4);
  } else {
    append_hex(out += "\\U", code, 8);
  }
}

void append_quoted(std::string& out, std::string_view text) {
  const bool doubled = text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  out.push_back(quote);
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text, at);
    const char32_t code = code_point(text, at, length);
    if (code == '\n') {
      out += "\\n";
    } else if (code == '\r') {
      out += "\\r";
    } else if (code == '\t') {
      out += "\\t";
    } else if (code == '\\' || code == static_cast<char32_t>(quote)) {
      out.push_back('\\');
      out.push_back(static_cast<char>(code));
    } else if (is_printable(code)) {
      out.append(text.substr(at, length));
    } else {
      append_escaped(out, code);
    }
    at += length;
  }
  out.push_back(quote);
}

void append_repr(Context& context, std::string& out, const Value& value);

void append_items(Context& context, std::string& out, const std::vector<Value>& items) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    append_repr(context, out, items[i]);
  }
}

void append_list(Context& context, std::string& out, const List& list) {
  if (list.kind == List::Kind::Range) {
    out += list.shown;
    return;
  }
  const bool tuple = list.kind == List::Kind::Tuple;
  const bool view = !tuple && list.kind != List::Kind::List;
  if (view) out.append(type_name(list.kind)).append("(");
  out += tuple ? "(" : "[";
  append_items(context, out, list.items);
  if (tuple && list.items.size() == 1) out += ",";
  out += tuple ? ")" : "]";
  if (view) out += ")";
}

void append_repr(Context& context, std::string& out, const Value& value) {
  context.charge_bytes(0, out.size());
  if (const std::string* text = value.as_text()) {
    context.charge_bytes(text->size(), out.size());
    if (value.is_markup()) out += "Markup(";
    append_quoted(out, *text);
    if (value.is_markup()) out += ")";
  } else if (const List* list = value.as<const List>()) {
    append_list(context, out, *list);
  } else if (const Dict* dict = value.as<const Dict>()) {
    out += "{";
    for (size_t i = 0; i < dict->items().size(); ++i) {
      if (i > 0) out += ", ";
      append_repr(context, out, dict->items()[i].first);
      out += ": ";
      append_repr(context, out, dict->items()[i].second);
    }
    out += "}";
  } else {
    out += value.is_undefined() ? "Undefined" : to_text(context, value);
  }
}

}  // namespace

std::string repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  const std::string_view shortest(buffer.data(), static_cast<size_t>(end - buffer.data()));
  const size_t mark = shortest.find('e');
  int exponent = 0;
  std::from_chars(shortest.data() + mark + (shortest[mark + 1] == '+' ? 2 : 1), end, exponent);
  if (exponent < -4 || exponent >= 16) return std::string(shortest);
  const auto fixed =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed).ptr;
  std::string out(buffer.data(), fixed);
  if (out.find('.') == std::string::npos) out += ".0";
  return out;
}

std::string to_text(Context& context, const Value& value) {
  if (value.is_undefined()) return "";
  if (value.is_none()) return "None";
  if (const std::string* text = value.as_text()) {
    context.charge_bytes(text->size());
    return *text;
  }
  if (const bool* boolean = value.as_boolean()) return *boolean ? "True" : "False";
  if (const auto integer = value.as_integer()) return std::to_string(*integer);
  if (const double* real = value.as_real()) return repr(*real);
  const bool shown = value.as<const List>() != nullptr || value.as<const Dict>() != nullptr;
  context.require(shown, "a '", type_name(value), "' cannot be printed");
  return repr(context, value);
}

std::string repr(Context& context, const Value& value) {
  std::string out;
  append_repr(context, out, value);
  return out;
}

std::string escape_html(Context& context, std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out.push_back(c);
    }
  }
  context.charge_bytes(out.size());
  return out;
}

}  // namespace sluice::text::jinja
