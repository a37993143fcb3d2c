// Regular expressions as tokenizer.json means them (Oniguruma's, in its Ruby syntax), matched by PCRE2.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

// PCRE2's own types, so that its header stays in regex.cc.
struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct pcre2_real_jit_stack_8;

namespace sluice::text::internal {

// Bytes [begin, end) of a text.
struct Range {
  size_t begin;
  size_t end;
};

// The memory of a search: for one thread at a time, for any number of expressions.
class RegexMemory {
 public:
  RegexMemory();
  ~RegexMemory();
  RegexMemory(const RegexMemory&) = delete;
  RegexMemory& operator=(const RegexMemory&) = delete;

 private:
  friend class Regex;
  pcre2_real_match_context_8* context_;
  pcre2_real_match_data_8* data_;
  pcre2_real_jit_stack_8* stack_;
};

// A compiled expression. Immutable, safe from any thread.
class Regex {
 public:
  // Throws DataError naming `where` for what is malformed or means something else to PCRE2: nested character
  // classes, \h, \K, \Q, "(*", options other than i, m and x, a "+" after a counted repetition.
  Regex(const std::string& pattern, const std::string& where);

  // Appends the matches in a text that is UTF-8, left to right, none over another. Throws Error naming the
  // expression when it backtracks without bound on this text, or takes five seconds and one more per
  // megabyte.
  void find_all(std::string_view text, RegexMemory& memory, std::vector<Range>& out) const;

 private:
  bool find(std::string_view text, size_t from, RegexMemory& memory, Range& found) const;

  std::string where_;
  std::string pattern_;
  std::shared_ptr<pcre2_real_code_8> code_;
};

// The text of a Split or Replace: an expression, or a string that stands for itself.
class Pattern {
 public:
  static Pattern literal(std::string text);
  static Pattern regex(const std::string& pattern, const std::string& where);

  // As Regex::find_all().
  void find_all(std::string_view text, RegexMemory& memory, std::vector<Range>& out) const;

 private:
  std::string literal_;  // not empty, unless there is a regex_
  std::shared_ptr<const Regex> regex_;
};

// How long a text of so many bytes may become by the rules of a tokenizer.json: what is in use writes two or
// three bytes for one, and forty times "aa" for "a" would be 2^40.
constexpr size_t max_grown(size_t bytes) { return (size_t{64} << 10) + 16 * bytes; }

// Puts `content` in the place of each match. Throws Error when that takes more than `max_bytes`.
std::string replace_matches(std::string_view text, const std::vector<Range>& matches,
                            std::string_view content, size_t max_bytes);

}  // namespace sluice::text::internal
