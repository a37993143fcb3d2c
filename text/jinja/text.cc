#include "text/jinja/text.h"

#include <string.h>

#include <algorithm>

#include "text/internal/utf8.h"

namespace sluice::text::jinja {
namespace {

// What str.splitlines() ends a line at; 0 when it goes on.
size_t line_end(std::string_view text, size_t offset, size_t length) {
  const char32_t code = code_point(text, offset, length);
  if (code == '\r' && text.substr(offset + 1, 1) == "\n") return 2;
  const bool ends = (code >= 0x0A && code <= 0x0D) || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
                    code == 0x2028 || code == 0x2029;
  return ends ? length : 0;
}

// Without the characters at its ends that `stripped(offset, length)` takes.
template <class Stripped>
std::string_view strip_where(std::string_view text, Stripped&& stripped, Sides sides) {
  size_t begin = 0;
  while (sides != Sides::Right && begin < text.size()) {
    const size_t length = character_length(text, begin);
    if (!stripped(begin, length)) break;
    begin += length;
  }
  size_t end = text.size();
  while (sides != Sides::Left && end > begin) {
    size_t before = end - 1;
    while (before > begin && (static_cast<unsigned char>(text[before]) & 0xC0) == 0x80) --before;
    if (!stripped(before, end - before)) break;
    end = before;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string> split_at_space(Context& context, std::string_view text, int64_t limit) {
  std::vector<std::string> parts;
  size_t at = skip_space(text, 0);
  while (at < text.size()) {
    context.charge();
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.emplace_back(text.substr(at));
      break;
    }
    size_t end = at;
    while (end < text.size() && skip_space(text, end) == end) end += character_length(text, end);
    parts.emplace_back(text.substr(at, end - at));
    at = skip_space(text, end);
  }
  return parts;
}

std::vector<std::string> split_at_space_from_right(Context& context, std::string_view text, int64_t limit) {
  std::vector<std::string> parts;
  text = strip_space(text, Sides::Right);
  while (!text.empty()) {
    context.charge();
    if (limit >= 0 && static_cast<int64_t>(parts.size()) == limit) {
      parts.emplace_back(text);
      break;
    }
    size_t begin = text.size();
    while (begin > 0) {
      size_t before = begin - 1;
      while (before > 0 && (static_cast<unsigned char>(text[before]) & 0xC0) == 0x80) --before;
      if (is_space(code_point(text, before, begin - before))) break;
      begin = before;
    }
    parts.emplace_back(text.substr(begin));
    text = strip_space(text.substr(0, begin), Sides::Right);
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

size_t character_length(std::string_view text, size_t offset) {
  return std::max<size_t>(1, internal::utf8_length(text, offset));
}

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); at += character_length(text, at)) ++count;
  return count;
}

std::vector<size_t> character_starts(std::string_view text) {
  std::vector<size_t> starts;
  starts.reserve(text.size() + 1);
  for (size_t at = 0; at < text.size(); at += character_length(text, at)) starts.push_back(at);
  starts.push_back(text.size());
  return starts;
}

char32_t code_point(std::string_view text, size_t offset, size_t length) {
  const auto byte = [&](size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[offset + i]));
  };
  if (length == 1) return byte(0);
  char32_t code = byte(0) & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) code = (code << 6) | (byte(i) & 0x3F);
  return code;
}

bool is_space(char32_t code) {
  if (code < 0x80) return code == ' ' || (code >= 0x09 && code <= 0x0D) || (code >= 0x1C && code <= 0x1F);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

size_t skip_space(std::string_view text, size_t offset) {
  while (offset < text.size()) {
    const size_t length = character_length(text, offset);
    if (!is_space(code_point(text, offset, length))) break;
    offset += length;
  }
  return offset;
}

std::string_view strip_space(std::string_view text, Sides sides) {
  return strip_where(
      text, [&](size_t offset, size_t length) { return is_space(code_point(text, offset, length)); }, sides);
}

std::string_view strip(Context& context, std::string_view text, std::optional<std::string_view> characters,
                       Sides sides) {
  context.charge_bytes(text.size());
  if (!characters) return strip_space(text, sides);
  const auto stripped = [&](size_t offset, size_t length) {
    context.charge_bytes(characters->size());
    return find(*characters, text.substr(offset, length)) != std::string_view::npos;
  };
  return strip_where(text, stripped, sides);
}

size_t find(std::string_view text, std::string_view part, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (part.empty()) return from;
  // memmem is linear where std::string_view::find is quadratic, and the text may be hostile.
  const void* found = memmem(text.data() + from, text.size() - from, part.data(), part.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t find_last(Context& context, std::string_view text, std::string_view part) {
  if (part.empty()) return text.size();
  size_t end = text.size();
  while (end >= part.size()) {
    const void* found = memrchr(text.data(), part.front(), end - part.size() + 1);
    if (found == nullptr) break;
    const auto at = static_cast<size_t>(static_cast<const char*>(found) - text.data());
    context.charge_bytes(part.size());
    if (text.substr(at, part.size()) == part) return at;
    end = at + part.size() - 1;
  }
  return std::string_view::npos;
}

std::vector<std::string> split(Context& context, std::string_view text,
                               std::optional<std::string_view> separator, int64_t limit, bool from_right) {
  context.charge_bytes(text.size());
  if (!separator) {
    return from_right ? split_at_space_from_right(context, text, limit)
                      : split_at_space(context, text, limit);
  }
  context.require(!separator->empty(), "split: the separator is empty");
  std::vector<std::string> parts;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    context.charge();
    const size_t at = from_right ? find_last(context, text, *separator) : find(text, *separator);
    if (at == std::string_view::npos) break;
    const size_t after = at + separator->size();
    parts.emplace_back(from_right ? text.substr(after) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(after);
  }
  parts.emplace_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(Context& context, std::string_view text, bool keep_ends) {
  context.charge_bytes(text.size());
  std::vector<std::string> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text, at);
    const size_t end = line_end(text, at, length);
    at += std::max(length, end);
    if (end == 0) continue;
    context.charge();
    lines.emplace_back(text.substr(begin, at - begin - (keep_ends ? 0 : end)));
    begin = at;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string replace(Context& context, std::string_view text, std::string_view old, std::string_view fresh,
                    int64_t limit) {
  context.charge_bytes(text.size());
  std::string out;
  size_t from = 0;
  for (int64_t done = 0; limit < 0 || done < limit; ++done) {
    // An empty `old` stands before every character and at the end.
    const size_t at = find(text, old, from);
    if (at == std::string_view::npos) break;
    const size_t taken = !old.empty() || at == text.size() ? 0 : character_length(text, at);
    context.charge_bytes(at - from + fresh.size(), out.size());
    out.append(text.substr(from, at - from)).append(fresh).append(text.substr(at, taken));
    from = at + old.size() + taken;
    if (old.empty() && at == text.size()) break;
  }
  out.append(text.substr(std::min(from, text.size())));
  context.charge_bytes(0, out.size());
  return out;
}

}  // namespace sluice::text::jinja
