#include "text/tokenizer_json/normalizers.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "text/internal/unicode.h"
#include "text/tokenizer_json/byte_alphabet.h"
#include "text/tokenizer_json/component.h"

namespace sluice::text::internal {
namespace {

using Made = std::unique_ptr<Normalizer>;

constexpr size_t kMaxDecomposed = 18;  // characters that one becomes: U+FDFA in NFKD

void require_room(const NormalText& normal, size_t bytes) {
  require(bytes <= normal.max_bytes, "tokenizer: a text is normalized to ", bytes, " bytes, at most ",
          normal.max_bytes, " are allowed");
}

// NFC, NFD, NFKC, NFKD. ASCII is in all four forms and begins something new, so only the rest is looked at,
// each run of it with the character that it may combine with.
class UnicodeForm : public Normalizer {
 public:
  explicit UnicodeForm(int options) : options_(static_cast<utf8proc_option_t>(options | UTF8PROC_STABLE)) {}

  void apply(NormalText& normal, RegexMemory&) const override {
    const std::string& text = normal.text;
    const auto is_ascii = [&](size_t at) { return static_cast<unsigned char>(text[at]) < 0x80; };
    std::string out;
    for (size_t begin = 0; begin < text.size();) {
      size_t end = begin;
      while (end < text.size() && is_ascii(end)) ++end;
      if (end == text.size()) {
        if (begin == 0) return;
        out.append(text, begin);
        break;
      }
      if (end > begin) --end;
      out.append(text, begin, end - begin);
      begin = end++;
      while (end < text.size() && !is_ascii(end)) ++end;
      append_form(out, std::string_view(text).substr(begin, end - begin));
      begin = end;
    }
    normal.text = std::move(out);
  }

 private:
  using Code = utf8proc_int32_t;

  // As utf8proc_map() does it, but for the marks, which it orders by swapping neighbours.
  void append_form(std::string& out, std::string_view text) const {
    std::vector<Code> codes;
    codes.reserve(text.size() + 1);
    std::array<Code, kMaxDecomposed> made{};
    int unused = 0;
    for (size_t at = 0; at < text.size();) {
      const Character character = character_at(text, at);
      const auto count = utf8proc_decompose_char(static_cast<Code>(character.code), made.data(), made.size(),
                                                 options_, &unused);
      require(count >= 0 && static_cast<size_t>(count) <= made.size(),
              "tokenizer: cannot normalize a character that becomes ", count);
      codes.insert(codes.end(), made.begin(), made.begin() + count);
      at += character.length;
    }
    order_marks(codes);
    codes.push_back(0);  // room for the zero behind the text
    const auto size =
        utf8proc_reencode(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()) - 1, options_);
    require(size >= 0, "tokenizer: cannot normalize: ", utf8proc_errmsg(size));
    out.append(reinterpret_cast<const char*>(codes.data()), static_cast<size_t>(size));
  }

  // Each run of marks by combining class; of equal ones the order stays.
  static void order_marks(std::vector<Code>& codes) {
    const auto combining_class = [](Code code) { return utf8proc_get_property(code)->combining_class; };
    const auto is_marking = [&](Code code) { return combining_class(code) != 0; };
    const auto before = [&](Code a, Code b) { return combining_class(a) < combining_class(b); };
    for (auto at = codes.begin(); at != codes.end();) {
      const auto begin = std::find_if(at, codes.end(), is_marking);
      at = std::find_if_not(begin, codes.end(), is_marking);
      if (!std::is_sorted(begin, at, before)) std::stable_sort(begin, at, before);
    }
  }

  const utf8proc_option_t options_;
};

class Replace : public Normalizer {
 public:
  Replace(Pattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void apply(NormalText& normal, RegexMemory& memory) const override {
    std::vector<Range> matches;
    pattern_.find_all(normal.text, memory, matches);
    if (matches.empty()) return;
    // What takes the place of several characters counts as the last of them.
    const auto& first = matches[0];
    if (first.begin == 0 && first.end > 0) {
      normal.at_start &= !content_.empty() && character_at(normal.text, 0).length == first.end;
    }
    normal.text = replace_matches(normal.text, matches, content_, normal.max_bytes);
  }

 private:
  const Pattern pattern_;
  const std::string content_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(std::string prefix) : prefix_(std::move(prefix)) {}
  void apply(NormalText& normal, RegexMemory&) const override {
    if (normal.text.empty()) return;
    require_room(normal, prefix_.size() + normal.text.size());
    normal.text.insert(0, prefix_);
  }

 private:
  const std::string prefix_;
};

class Strip : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}

  void apply(NormalText& normal, RegexMemory&) const override {
    const std::string& text = normal.text;
    size_t begin = 0;  // after the white space on the left
    size_t end = 0;    // before that on the right
    bool any = false;
    for (size_t at = 0; at < text.size();) {
      const Character character = character_at(text, at);
      if (!is_whitespace(character.code)) {
        if (!any) begin = at;
        any = true;
        end = at + character.length;
      }
      at += character.length;
    }
    if (!any) begin = end = left_ ? text.size() : 0;
    if (!left_) begin = 0;
    if (!right_) end = text.size();
    normal.at_start &= begin == 0;
    normal.text = text.substr(begin, end - begin);
  }

 private:
  const bool left_;
  const bool right_;
};

// Normalizers that look at one character at a time.
class EachCharacter : public Normalizer {
 public:
  using Append = void (*)(std::string& out, char32_t code);
  explicit EachCharacter(Append append) : append_(append) {}

  void apply(NormalText& normal, RegexMemory&) const override {
    std::string out;
    for (size_t at = 0; at < normal.text.size();) {
      const Character character = character_at(normal.text, at);
      append_(out, character.code);
      if (at == 0) normal.at_start &= !out.empty();
      at += character.length;
    }
    normal.text = std::move(out);
  }

 private:
  const Append append_;
};

class ByteLevel : public Normalizer {
 public:
  void apply(NormalText& normal, RegexMemory&) const override {
    std::string out;
    append_as_alphabet(out, normal.text);
    require_room(normal, out.size());
    normal.text = std::move(out);
  }
};

class Sequence : public Normalizer {
 public:
  explicit Sequence(std::vector<Made> parts) : parts_(std::move(parts)) {}
  void apply(NormalText& normal, RegexMemory& memory) const override {
    for (const auto& part : parts_) part->apply(normal, memory);
  }

 private:
  const std::vector<Made> parts_;
};

template <int options>
Made read_form(const Json&, const std::string&) {
  return std::make_unique<UnicodeForm>(options);
}

Made read_replace(const Json& component, const std::string& where) {
  return std::make_unique<Replace>(read_pattern(component, where),
                                   json_member<std::string>(component, "content", where));
}

Made read_prepend(const Json& component, const std::string& where) {
  return std::make_unique<Prepend>(json_member<std::string>(component, "prepend", where));
}

Made read_strip(const Json& component, const std::string& where) {
  return std::make_unique<Strip>(json_member<bool>(component, "strip_left", where),
                                 json_member<bool>(component, "strip_right", where));
}

Made read_lowercase(const Json&, const std::string&) {
  return std::make_unique<EachCharacter>(append_lowercase);
}

Made read_strip_accents(const Json&, const std::string&) {
  return std::make_unique<EachCharacter>([](std::string& out, char32_t code) {
    if (!is_mark(code)) append_utf8(out, code);
  });
}

Made read_byte_level(const Json&, const std::string&) { return std::make_unique<ByteLevel>(); }

Made read_sequence(const Json& component, const std::string& where);

const ComponentTable<Made>& table() {
  static const ComponentTable<Made> the_table = {
      {"NFC", read_form<UTF8PROC_COMPOSE>},
      {"NFD", read_form<UTF8PROC_DECOMPOSE>},
      {"NFKC", read_form<UTF8PROC_COMPOSE | UTF8PROC_COMPAT>},
      {"NFKD", read_form<UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT>},
      {"Replace", read_replace},
      {"Prepend", read_prepend},
      {"Strip", read_strip},
      {"Lowercase", read_lowercase},
      {"StripAccents", read_strip_accents},
      {"ByteLevel", read_byte_level},
      {"Sequence", read_sequence},
  };
  return the_table;
}

Made read_sequence(const Json& component, const std::string& where) {
  return std::make_unique<Sequence>(read_components(table(), component, "normalizers", where));
}

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const Json& component, const std::string& where) {
  return read_component(table(), component, where);
}

Pattern read_pattern(const Json& component, const std::string& where) {
  const std::string place = where + ".pattern";
  const Json& pattern = json_part(component, "pattern", where);
  if (pattern.contains("Regex"))
    return Pattern::regex(json_member<std::string>(pattern, "Regex", place), place);
  auto text = json_member<std::string>(pattern, "String", place);
  require<DataError>(!text.empty(), place, ": an empty string stands between any two characters");
  return Pattern::literal(std::move(text));
}

}  // namespace sluice::text::internal
