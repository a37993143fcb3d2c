#include "text/tokenizer_json/pre_tokenizers.h"

#include <array>
#include <utility>

#include "base/error.h"
#include "text/internal/unicode.h"
#include "text/tokenizer_json/byte_alphabet.h"
#include "text/tokenizer_json/component.h"
#include "text/tokenizer_json/normalizers.h"

namespace sluice::text::internal {
namespace {

using Made = std::unique_ptr<PreTokenizer>;

// How GPT-2 cuts, in the order of preference: endings, words, numbers, signs, white space.
constexpr const char* kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kWords = R"([\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}]+)"
                               R"(|[^\p{Alphabetic}\p{M}\p{Nd}\p{Pc}\x{200C}\x{200D}\s]+)";

std::string_view view(const Pieces& pieces, const Piece& piece) {
  return std::string_view(pieces.text).substr(piece.range.begin, piece.range.end - piece.range.begin);
}

// Cuts every piece where `find` says; the text stays as it is.
template <class Find>
void cut_each(Pieces& pieces, CutMemory& memory, CutBehavior behavior, bool inverted, Find&& find) {
  auto& out = memory.pieces.list;
  out.clear();
  std::vector<Range> parts;
  for (const auto& piece : pieces.list) {
    memory.matches.clear();
    parts.clear();
    find(view(pieces, piece), memory.matches);
    cut_at(memory.matches, piece.range.end - piece.range.begin, behavior, inverted, parts);
    const size_t base = piece.range.begin;
    for (const auto& part : parts) {
      out.push_back({{base + part.begin, base + part.end}, piece.at_start && part.begin == 0});
    }
  }
  std::swap(pieces.list, out);
}

// Makes every piece anew; `append` writes its text behind the others'.
template <class Append>
void rewrite_each(Pieces& pieces, CutMemory& memory, Append&& append) {
  auto& text = memory.pieces.text;
  text.clear();
  for (auto& piece : pieces.list) {
    const size_t begin = text.size();
    append(view(pieces, piece), piece.at_start, text);
    piece.range = {begin, text.size()};
  }
  std::swap(pieces.text, text);
}

class Split : public PreTokenizer {
 public:
  Split(Pattern pattern, CutBehavior behavior, bool inverted)
      : pattern_(std::move(pattern)), behavior_(behavior), inverted_(inverted) {}

  void apply(Pieces& pieces, CutMemory& memory) const override {
    cut_each(pieces, memory, behavior_, inverted_, [&](std::string_view text, std::vector<Range>& matches) {
      pattern_.find_all(text, memory.regex, matches);
    });
  }

 private:
  const Pattern pattern_;
  const CutBehavior behavior_;
  const bool inverted_;
};

// Cuts at characters of one kind.
class SplitAtKind : public PreTokenizer {
 public:
  SplitAtKind(bool (*is_kind)(char32_t), CutBehavior behavior) : is_kind_(is_kind), behavior_(behavior) {}

  void apply(Pieces& pieces, CutMemory& memory) const override {
    cut_each(pieces, memory, behavior_, false, [&](std::string_view text, std::vector<Range>& matches) {
      for (size_t at = 0; at < text.size();) {
        const Character character = character_at(text, at);
        if (is_kind_(character.code)) matches.push_back({at, at + character.length});
        at += character.length;
      }
    });
  }

 private:
  bool (*const is_kind_)(char32_t);
  const CutBehavior behavior_;
};

class ByteLevel : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex, const std::string& where)
      : add_prefix_space_(add_prefix_space),
        split_(Pattern::regex(kGpt2, where), CutBehavior::Isolated, false),
        use_regex_(use_regex) {}

  void apply(Pieces& pieces, CutMemory& memory) const override {
    if (add_prefix_space_) {
      rewrite_each(pieces, memory, [](std::string_view piece, bool, std::string& text) {
        if (!piece.starts_with(' ')) text += ' ';
        text += piece;
      });
    }
    if (use_regex_) split_.apply(pieces, memory);
    rewrite_each(pieces, memory,
                 [](std::string_view piece, bool, std::string& text) { append_as_alphabet(text, piece); });
  }

 private:
  const bool add_prefix_space_;
  const Split split_;
  const bool use_regex_;
};

enum class Prefix { First, Never, Always };

// Writes a sign for each space, and one before the text or before every piece of it.
class Metaspace : public PreTokenizer {
 public:
  Metaspace(std::string sign, Prefix prefix, bool split)
      : sign_(std::move(sign)),
        prefix_(prefix),
        split_(split),
        cut_(Pattern::literal(sign_), CutBehavior::MergedWithNext, false) {}

  void apply(Pieces& pieces, CutMemory& memory) const override {
    rewrite_each(pieces, memory, [&](std::string_view piece, bool at_start, std::string& text) {
      const bool wanted = prefix_ == Prefix::Always || (prefix_ == Prefix::First && at_start);
      if (wanted && !piece.starts_with(' ') && !piece.starts_with(sign_)) text += sign_;
      for (size_t at = 0; at < piece.size();) {
        const size_t space = std::min(piece.find(' ', at), piece.size());
        text += piece.substr(at, space - at);
        if (space < piece.size()) text += sign_;
        at = space + 1;
      }
    });
    if (split_) cut_.apply(pieces, memory);
  }

 private:
  const std::string sign_;
  const Prefix prefix_;
  const bool split_;
  const Split cut_;
};

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(std::vector<Made> parts) : parts_(std::move(parts)) {}
  void apply(Pieces& pieces, CutMemory& memory) const override {
    for (const auto& part : parts_) part->apply(pieces, memory);
  }

 private:
  const std::vector<Made> parts_;
};

CutBehavior read_behavior(const std::string& name, const std::string& where) {
  constexpr std::array<std::pair<std::string_view, CutBehavior>, 5> kBehaviors = {
      {{"Removed", CutBehavior::Removed},
       {"Isolated", CutBehavior::Isolated},
       {"MergedWithPrevious", CutBehavior::MergedWithPrevious},
       {"MergedWithNext", CutBehavior::MergedWithNext},
       {"Contiguous", CutBehavior::Contiguous}}};
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  fail<DataError>(where, ".behavior: \"", name,
                  "\" is none of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous");
}

Made read_split(const Json& component, const std::string& where) {
  return std::make_unique<Split>(read_pattern(component, where),
                                 read_behavior(json_member<std::string>(component, "behavior", where), where),
                                 json_member<bool>(component, "invert", where));
}

Made read_byte_level(const Json& component, const std::string& where) {
  return std::make_unique<ByteLevel>(json_member<bool>(component, "add_prefix_space", where),
                                     json_member_or<bool>(component, "use_regex", true, where), where);
}

Made read_digits(const Json& component, const std::string& where) {
  const bool individual = json_member<bool>(component, "individual_digits", where);
  return std::make_unique<SplitAtKind>(is_numeric,
                                       individual ? CutBehavior::Isolated : CutBehavior::Contiguous);
}

Made read_punctuation(const Json& component, const std::string& where) {
  const auto behavior = json_member_or<std::string>(component, "behavior", "Isolated", where);
  return std::make_unique<SplitAtKind>(is_punctuation, read_behavior(behavior, where));
}

Made read_whitespace(const Json&, const std::string& where) {
  return std::make_unique<Split>(Pattern::regex(kWords, where), CutBehavior::Removed, true);
}

Made read_whitespace_split(const Json&, const std::string&) {
  return std::make_unique<SplitAtKind>(is_whitespace, CutBehavior::Removed);
}

Made read_metaspace(const Json& component, const std::string& where) {
  const auto sign = json_member<std::string>(component, "replacement", where);
  require<DataError>(!sign.empty() && character_at(sign, 0).length == sign.size(), where,
                     ".replacement: one character is wanted, saw \"", sign, "\"");
  // Files of old say add_prefix_space alone.
  const bool prefixed = json_member_or<bool>(component, "add_prefix_space", true, where);
  const auto scheme =
      json_member_or<std::string>(component, "prepend_scheme", prefixed ? "always" : "never", where);
  require<DataError>(scheme == "first" || scheme == "never" || scheme == "always", where,
                     ".prepend_scheme: \"", scheme, "\" is none of first, never, always");
  require<DataError>(prefixed || scheme == "never", where,
                     ": add_prefix_space is false and prepend_scheme \"", scheme, "\"");
  const Prefix prefix = scheme == "first"   ? Prefix::First
                        : scheme == "never" ? Prefix::Never
                                            : Prefix::Always;
  return std::make_unique<Metaspace>(sign, prefix, json_member_or<bool>(component, "split", true, where));
}

Made read_sequence(const Json& component, const std::string& where);

const ComponentTable<Made>& table() {
  static const ComponentTable<Made> the_table = {
      {"ByteLevel", read_byte_level},
      {"Split", read_split},
      {"Digits", read_digits},
      {"Metaspace", read_metaspace},
      {"Punctuation", read_punctuation},
      {"Whitespace", read_whitespace},
      {"WhitespaceSplit", read_whitespace_split},
      {"Sequence", read_sequence},
  };
  return the_table;
}

Made read_sequence(const Json& component, const std::string& where) {
  return std::make_unique<Sequence>(read_components(table(), component, "pretokenizers", where));
}

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& component, const std::string& where) {
  return read_component(table(), component, where);
}

}  // namespace sluice::text::internal
