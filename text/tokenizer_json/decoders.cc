#include "text/tokenizer_json/decoders.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/internal/spelling.h"
#include "text/internal/unicode.h"
#include "text/internal/utf8.h"
#include "text/tokenizer_json/byte_alphabet.h"
#include "text/tokenizer_json/component.h"
#include "text/tokenizer_json/normalizers.h"

namespace sluice::text::internal {
namespace {

using Made = std::unique_ptr<Decoder>;
using Tokens = std::vector<std::string>;

void fuse(Tokens& tokens) {
  std::string text;
  for (const auto& token : tokens) text += token;
  tokens.assign(1, std::move(text));
}

size_t bytes_of(const Tokens& tokens) {
  size_t bytes = 0;
  for (const auto& token : tokens) bytes += token.size();
  return bytes;
}

class ByteLevel : public Decoder {
 public:
  void apply(Tokens& tokens, RegexMemory&) const override {
    for (auto& token : tokens) token = from_alphabet(token);
    fuse(tokens);
    std::string repaired;
    if (as_utf8(tokens[0], repaired).data() != tokens[0].data()) tokens[0] = std::move(repaired);
  }
};

// Bytes side by side become the text that they are, or one U+FFFD each when they are none.
class ByteFallback : public Decoder {
 public:
  void apply(Tokens& tokens, RegexMemory&) const override {
    Tokens out;
    std::string bytes;
    const auto flush = [&] {
      std::string repaired;
      if (as_utf8(bytes, repaired).data() == bytes.data()) {
        if (!bytes.empty()) out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), "\uFFFD");
      }
      bytes.clear();
    };
    for (auto& token : tokens) {
      if (const auto byte = byte_of(token)) {
        bytes.push_back(static_cast<char>(*byte));
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    tokens = std::move(out);
  }
};

class Fuse : public Decoder {
 public:
  void apply(Tokens& tokens, RegexMemory&) const override { fuse(tokens); }
};

// Puts `content` where the pattern is. The first or the last token may get something else: Metaspace has no
// space before the first word, BPEDecoder none behind the last.
class Replace : public Decoder {
 public:
  Replace(Pattern pattern, std::string content) : Replace(std::move(pattern), content, content, content) {}
  Replace(Pattern pattern, std::string content, std::string in_first, std::string in_last)
      : pattern_(std::move(pattern)),
        content_(std::move(content)),
        in_first_(std::move(in_first)),
        in_last_(std::move(in_last)) {}

  void apply(Tokens& tokens, RegexMemory& memory) const override {
    std::vector<Range> matches;
    size_t room = max_grown(bytes_of(tokens));  // of the tokens that change
    for (auto& token : tokens) {
      matches.clear();
      pattern_.find_all(token, memory, matches);
      if (matches.empty()) continue;
      const bool first = &token == &tokens.front() && in_first_ != content_;
      const bool last = &token == &tokens.back() && in_last_ != content_;
      token = replace_matches(token, matches, first ? in_first_ : last ? in_last_ : content_, room);
      room -= token.size();
    }
  }

 private:
  const Pattern pattern_;
  const std::string content_;
  const std::string in_first_;
  const std::string in_last_;
};

// Takes up to so many of one character from either end of each token.
class Strip : public Decoder {
 public:
  Strip(std::string content, int64_t start, int64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}

  void apply(Tokens& tokens, RegexMemory&) const override {
    for (auto& token : tokens) {
      std::string_view rest = token;
      for (int64_t i = 0; i < start_ && rest.starts_with(content_); ++i) rest.remove_prefix(content_.size());
      for (int64_t i = 0; i < stop_ && rest.ends_with(content_); ++i) rest.remove_suffix(content_.size());
      token = std::string(rest);
    }
  }

 private:
  const std::string content_;
  const int64_t start_;
  const int64_t stop_;
};

class Sequence : public Decoder {
 public:
  explicit Sequence(std::vector<Made> parts) : parts_(std::move(parts)) {}
  void apply(Tokens& tokens, RegexMemory& memory) const override {
    const size_t limit = max_grown(bytes_of(tokens));
    for (const auto& part : parts_) {
      part->apply(tokens, memory);
      const size_t bytes = bytes_of(tokens);
      require(bytes <= limit, "tokenizer: tokens are decoded to ", bytes, " bytes, at most ", limit,
              " are allowed");
    }
  }

 private:
  const std::vector<Made> parts_;
};

std::string read_character(const Json& component, const std::string& key, const std::string& where) {
  auto text = json_member<std::string>(component, key, where);
  require<DataError>(!text.empty() && character_at(text, 0).length == text.size(), where, ".", key,
                     ": one character is wanted, saw \"", text, "\"");
  return text;
}

template <class Plain>
Made read_plain(const Json&, const std::string&) {
  return std::make_unique<Plain>();
}

Made read_metaspace(const Json& component, const std::string& where) {
  const bool prefixed = json_member_or<bool>(component, "add_prefix_space", true, where);
  const auto scheme =
      json_member_or<std::string>(component, "prepend_scheme", prefixed ? "always" : "never", where);
  auto sign = Pattern::literal(read_character(component, "replacement", where));
  return std::make_unique<Replace>(std::move(sign), " ", scheme == "never" ? " " : "", " ");
}

Made read_replace(const Json& component, const std::string& where) {
  return std::make_unique<Replace>(read_pattern(component, where),
                                   json_member<std::string>(component, "content", where));
}

Made read_strip(const Json& component, const std::string& where) {
  const auto start = json_member<int64_t>(component, "start", where);
  const auto stop = json_member<int64_t>(component, "stop", where);
  return std::make_unique<Strip>(read_character(component, "content", where), start, stop);
}

Made read_bpe_decoder(const Json& component, const std::string& where) {
  auto suffix = json_member<std::string>(component, "suffix", where);
  require<DataError>(!suffix.empty(), where, ".suffix: empty");
  return std::make_unique<Replace>(Pattern::literal(std::move(suffix)), " ", " ", "");
}

Made read_sequence(const Json& component, const std::string& where);

const ComponentTable<Made>& table() {
  static const ComponentTable<Made> the_table = {
      {"ByteLevel", read_plain<ByteLevel>},
      {"ByteFallback", read_plain<ByteFallback>},
      {"Fuse", read_plain<Fuse>},
      {"Metaspace", read_metaspace},
      {"Replace", read_replace},
      {"Strip", read_strip},
      {"BPEDecoder", read_bpe_decoder},
      {"Sequence", read_sequence},
  };
  return the_table;
}

Made read_sequence(const Json& component, const std::string& where) {
  return std::make_unique<Sequence>(read_components(table(), component, "decoders", where));
}

}  // namespace

std::unique_ptr<Decoder> read_decoder(const Json& component, const std::string& where) {
  return read_component(table(), component, where);
}

}  // namespace sluice::text::internal
