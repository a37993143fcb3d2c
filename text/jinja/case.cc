// Upper and lower case.
//
// Case is mapped one character to one character; of those whose capital is longer only the sharp s is known.
#include <utf8proc.h>

#include "text/jinja/text.h"

namespace sluice::text::jinja {
namespace {

constexpr char32_t kSharpS = 0xDF;

int32_t category(char32_t code) { return utf8proc_category(static_cast<utf8proc_int32_t>(code)); }

char32_t to_lower(char32_t code) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(code)));
}
char32_t to_upper(char32_t code) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(code)));
}
char32_t to_title(char32_t code) {
  return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(code)));
}

bool has_case(char32_t code) {
  const int32_t kind = category(code);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL || kind == UTF8PROC_CATEGORY_LT;
}

enum class Case { Keep, Lower, Upper, Title };

void append_in_case(std::string& out, std::string_view bytes, char32_t code, Case wanted) {
  if (bytes.size() == 1 && code >= 0x80) {  // a byte that is not UTF-8
    out.append(bytes);
  } else if (code == kSharpS && (wanted == Case::Upper || wanted == Case::Title)) {
    out.append(wanted == Case::Upper ? "SS" : "Ss");
  } else if (wanted == Case::Lower) {
    append_utf8(out, to_lower(code));
  } else if (wanted == Case::Upper) {
    append_utf8(out, to_upper(code));
  } else if (wanted == Case::Title) {
    append_utf8(out, to_title(code));
  } else {
    out.append(bytes);
  }
}

// `choose` is asked for each character in turn.
template <class Choose>
std::string map_case(std::string_view text, Choose choose) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text, at);
    const char32_t code = code_point(text, at, length);
    append_in_case(out, text.substr(at, length), code, choose(code));
    at += length;
  }
  return out;
}

bool in_one_case(std::string_view text, Case wanted) {
  bool any = false;
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text, at);
    const char32_t code = code_point(text, at, length);
    at += length;
    if (!has_case(code)) continue;
    const bool is_lower = category(code) == UTF8PROC_CATEGORY_LL;
    const bool is_upper = category(code) == UTF8PROC_CATEGORY_LU;
    if (wanted == Case::Lower ? !is_lower : !is_upper) return false;
    any = true;
  }
  return any;
}

}  // namespace

std::string lower(std::string_view text) {
  return map_case(text, [](char32_t) { return Case::Lower; });
}

std::string upper(std::string_view text) {
  return map_case(text, [](char32_t) { return Case::Upper; });
}

std::string capitalize(std::string_view text) {
  return map_case(text, [first = true](char32_t) mutable {
    const Case wanted = first ? Case::Title : Case::Lower;
    first = false;
    return wanted;
  });
}

std::string title(std::string_view text) {
  return map_case(text, [inside = false](char32_t code) mutable {
    const Case wanted = inside ? Case::Lower : Case::Title;
    inside = has_case(code);
    return wanted;
  });
}

std::string title_words(std::string_view text) {
  return map_case(text, [inside = false](char32_t code) mutable {
    if (is_space(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<') {
      inside = false;
      return Case::Keep;
    }
    const Case wanted = inside ? Case::Lower : Case::Upper;
    inside = true;
    return wanted;
  });
}

bool is_lower(std::string_view text) { return in_one_case(text, Case::Lower); }
bool is_upper(std::string_view text) { return in_one_case(text, Case::Upper); }

bool all_characters(std::string_view text, bool (*test)(char32_t)) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text, at);
    if (!test(code_point(text, at, length))) return false;
    at += length;
  }
  return !text.empty();
}

bool is_digit(char32_t code) {
  return category(code) == UTF8PROC_CATEGORY_ND || code == 0xB2 || code == 0xB3 || code == 0xB9;
}

bool is_letter(char32_t code) {
  const int32_t kind = category(code);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_letter_or_digit(char32_t code) {
  const int32_t kind = category(code);
  return is_letter(code) || (kind >= UTF8PROC_CATEGORY_ND && kind <= UTF8PROC_CATEGORY_NO);
}

bool is_printable(char32_t code) {
  if (code == ' ') return true;
  const int32_t kind = category(code);
  return kind != UTF8PROC_CATEGORY_CN && kind < UTF8PROC_CATEGORY_ZS;
}

}  // namespace sluice::text::jinja
