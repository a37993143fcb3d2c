#include "text/tokenizer_json/regex.h"

#include <algorithm>
#include <limits>
#include <utility>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/clock.h"
#include "base/error.h"
#include "text/internal/unicode.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kMaxPattern = 1u << 16;  // bytes
constexpr size_t kFirstStack = 64u << 10;
constexpr size_t kMaxStack = 8u << 20;
// Steps of one match: what any pattern in use needs is a few for each byte that it looks at.
constexpr uint64_t kMinSteps = 1u << 20;
constexpr uint64_t kStepsPerByte = 64;
// All matches of a text together. PCRE2 counts no steps while it runs over a repeated character, so that
// "a*b|a" is quadratic within them; a pattern in use needs a hundredth of this time.
constexpr Millis kMinTime = 5'000;
constexpr size_t kBytesPerMilli = 1000;
constexpr size_t kMatchesBetweenChecks = 64;

// Oniguruma's \s is White_Space and its \w has marks and connectors; PCRE2's differ in U+180E and in those.
constexpr std::string_view kSpaces = R"(\t-\r\x{85}\p{Z})";
constexpr std::string_view kWords = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

// Rewrites what the two libraries read differently.
class Translation {
 public:
  Translation(std::string_view pattern, const std::string& where) : in_(pattern), where_(where) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        inside_class(c);
      } else if (c == '[') {
        open_class();
      } else {
        outside_class(c);
      }
    }
    return std::move(out_);
  }

 private:
  bool follows(std::string_view text, size_t from) const {
    return from <= in_.size() && in_.substr(from).starts_with(text);
  }

  void copy(size_t bytes) {
    out_ += in_.substr(at_, bytes);
    at_ += bytes;
  }

  void escape() {
    const char kind = at_ + 1 < in_.size() ? in_[at_ + 1] : '\0';
    require<DataError>(kind != 'h' && kind != 'H', where_, ": \\", kind,
                       " in a regular expression is not supported; write [0-9a-fA-F]");
    // \K in a group that a lookahead calls would end a match before it begins.
    require<DataError>(kind == '\0' || std::string_view("KQE").find(kind) == std::string_view::npos, where_,
                       ": \\", kind, " in a regular expression is not supported");
    if (kind == 'v') return put("\\x0B");
    if (!in_class_ && (kind == 'b' || kind == 'B')) return word_border(kind == 'b');
    const std::string_view set = kind == 's' || kind == 'S'   ? kSpaces
                                 : kind == 'w' || kind == 'W' ? kWords
                                                              : "";
    const bool negated = kind == 'S' || kind == 'W';
    if (set.empty() || (in_class_ && negated)) return copy(escape_length());
    if (!in_class_) out_ += negated ? "[^" : "[";
    out_ += set;
    if (!in_class_) out_ += "]";
    at_ += 2;
  }

  // In the place of an escape of two letters.
  void put(std::string_view text) {
    out_ += text;
    at_ += 2;
  }

  // PCRE2's own \b goes by its own \w.
  void word_border(bool wanted) {
    const std::string word = "[" + std::string(kWords) + "]";
    const std::string after_word = "(?<=" + word + ")", before_word = "(?=" + word + ")";
    const std::string after_none = "(?<!" + word + ")", before_none = "(?!" + word + ")";
    put("(?:" + after_word + (wanted ? before_none : before_word) + "|" + after_none +
        (wanted ? before_word : before_none) + ")");
  }

  // \p{Lu} and \x{85} with their braces.
  size_t escape_length() const {
    const size_t length = std::min<size_t>(2, in_.size() - at_);
    if (!follows("{", at_ + length) || in_[at_ + length - 1] == '{') return length;
    const size_t end = in_.find('}', at_);
    return end == std::string_view::npos ? length : end + 1 - at_;
  }

  void open_class() {
    in_class_ = true;
    copy(1);
    if (follows("^", at_)) copy(1);
    if (follows("]", at_)) copy(1);
  }

  void inside_class(char c) {
    if (c == '[' && follows("[:", at_)) {
      const size_t end = in_.find(":]", at_);
      require<DataError>(end != std::string_view::npos, where_,
                         ": \"[:\" without \":]\" in a regular expression");
      return copy(end + 2 - at_);
    }
    require<DataError>(c != '[' && !follows("&&", at_), where_,
                       ": a character class inside a character class is not supported");
    if (c == ']') in_class_ = false;
    copy(1);
  }

  // Of "(?...)" and "(?...:", letters are options: Ruby has i, x and m, which makes a dot take line ends.
  void open_group() {
    require<DataError>(!follows("(*", at_) && !follows("(?C", at_), where_, ": \"",
                       in_.substr(at_, follows("(*", at_) ? 2 : 3),
                       "\" in a regular expression is not supported");
    if (!follows("(?", at_)) return copy(1);
    copy(2);
    const auto is_option = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '^';
    };
    size_t end = at_;
    while (end < in_.size() && is_option(in_[end])) ++end;
    if (!follows(")", end) && !follows(":", end)) return;
    for (; at_ < end; ++at_) {
      require<DataError>(std::string_view("imx-").find(in_[at_]) != std::string_view::npos, where_,
                         ": the option \"", in_[at_], "\" in a regular expression is not supported");
      out_ += in_[at_] == 'm' ? 's' : in_[at_];
    }
  }

  void outside_class(char c) {
    if (c == '(') return open_group();
    if (c != '{') return copy(1);
    const size_t end = in_.find('}', at_);
    const bool counted =
        end != std::string_view::npos &&
        in_.substr(at_ + 1, end - at_ - 1).find_first_not_of("0123456789,") == std::string_view::npos;
    if (!counted) return copy(1);
    require<DataError>(!follows("+", end + 1), where_,
                       ": a \"+\" after a counted repetition is not supported");
    out_ += follows("{,", at_) ? "{0" : "{";  // Oniguruma's {,n} is none to n times
    ++at_;
    copy(end - at_ + 1);
  }

  const std::string_view in_;
  const std::string& where_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

RegexMemory::RegexMemory()
    : context_(pcre2_match_context_create(nullptr)),
      data_(pcre2_match_data_create(1, nullptr)),
      stack_(pcre2_jit_stack_create(kFirstStack, kMaxStack, nullptr)) {
  if (context_ != nullptr && stack_ != nullptr) pcre2_jit_stack_assign(context_, nullptr, stack_);
}

RegexMemory::~RegexMemory() {
  pcre2_jit_stack_free(stack_);
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
}

Regex::Regex(const std::string& pattern, const std::string& where) : where_(where), pattern_(pattern) {
  require<DataError>(pattern.size() <= kMaxPattern, where, ": a regular expression of ", pattern.size(),
                     " bytes, at most ", kMaxPattern, " are read");
  const std::string translated = Translation(pattern, where).run();
  int error = 0;
  size_t offset = 0;
  const auto options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  const std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  require(context != nullptr, "regex: out of memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                   options, &error, &offset, context.get());
  require<DataError>(code != nullptr, where, ": the regular expression \"", pattern,
                     "\" is not supported: ", message_of(error), " at byte ", offset);
  code_.reset(code, pcre2_code_free);
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // where there is no JIT, pcre2_match() interprets
}

bool Regex::find(std::string_view text, size_t from, RegexMemory& memory, Range& found) const {
  const int matched = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                  PCRE2_NO_UTF_CHECK, memory.data_, memory.context_);
  if (matched == PCRE2_ERROR_NOMATCH) return false;
  require(matched >= 0, where_, ": the regular expression \"", pattern_,
          "\" cannot be matched to this text: ", message_of(matched));
  const size_t* offsets = pcre2_get_ovector_pointer(memory.data_);
  require(from <= offsets[0] && offsets[0] <= offsets[1], where_, ": the regular expression \"", pattern_,
          "\" finds a match at byte ", offsets[0], " that ends at ", offsets[1], ", looking from ", from);
  found = {offsets[0], offsets[1]};
  return true;
}

void Regex::find_all(std::string_view text, RegexMemory& memory, std::vector<Range>& out) const {
  require(memory.context_ != nullptr && memory.data_ != nullptr, "regex: out of memory");
  const uint64_t steps = kMinSteps + kStepsPerByte * text.size();
  pcre2_set_match_limit(memory.context_, static_cast<uint32_t>(std::min<uint64_t>(
                                             steps, std::numeric_limits<uint32_t>::max())));
  const SteadyClock clock;
  Millis deadline = 0;  // none before the first look at the clock, which most texts never come to
  size_t from = 0;
  size_t last_end = std::string_view::npos;
  Range match{};
  for (size_t count = 1; from <= text.size() && find(text, from, memory, match); ++count) {
    if (count % kMatchesBetweenChecks == 0) {
      const Millis now = clock.now_ms();
      if (deadline == 0) deadline = now + kMinTime + static_cast<Millis>(text.size() / kBytesPerMilli);
      require(now <= deadline, where_, ": the regular expression \"", pattern_,
              "\" takes too long on a text of ", text.size(), " bytes");
    }
    if (match.begin == match.end && match.end == last_end) {  // nothing, where a match has just ended
      from += from < text.size() ? character_at(text, from).length : 1;
      continue;
    }
    from = last_end = match.end;
    out.push_back(match);
  }
}

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Pattern Pattern::regex(const std::string& text, const std::string& where) {
  Pattern pattern;
  pattern.regex_ = std::make_shared<const Regex>(text, where);
  return pattern;
}

void Pattern::find_all(std::string_view text, RegexMemory& memory, std::vector<Range>& out) const {
  if (regex_ != nullptr) return regex_->find_all(text, memory, out);
  size_t at = text.find(literal_);
  while (at != std::string_view::npos) {
    out.push_back({at, at + literal_.size()});
    at = text.find(literal_, at + literal_.size());
  }
}

std::string replace_matches(std::string_view text, const std::vector<Range>& matches,
                            std::string_view content, size_t max_bytes) {
  size_t size = text.size() + matches.size() * content.size();
  for (const auto& match : matches) size -= match.end - match.begin;
  require(size <= max_bytes, "tokenizer: what is put for ", matches.size(), " matches makes ", size,
          " bytes of ", text.size(), ", at most ", max_bytes, " are allowed");
  std::string out;
  out.reserve(size);
  size_t done = 0;
  for (const auto& match : matches) {
    out += text.substr(done, match.begin - done);
    out += content;
    done = match.end;
  }
  out += text.substr(done);
  return out;
}

}  // namespace sluice::text::internal
