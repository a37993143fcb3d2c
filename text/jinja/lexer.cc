#include "text/jinja/lexer.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.h"
#include "text/internal/utf8.h"
#include "text/jinja/text.h"
#include "text/jinja/token_reader.h"

namespace sluice::text::jinja {
namespace {

std::string with_plain_line_ends(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out.push_back(source[i]);
    } else if (source.substr(i + 1, 1) != "\n") {
      out.push_back('\n');
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  Lexer(std::string source, const std::string& where) : reader_(std::move(source), where) {}

  std::vector<Token> run() {
    while (!reader_.at_end()) text_and_tag();
    add(Token::Kind::End, "");
    return std::move(tokens_);
  }

 private:
  // The text up to the next tag, and that tag.
  void text_and_tag() {
    const std::string_view rest = reader_.rest();
    size_t tag = 0;
    while ((tag = rest.find('{', tag)) != std::string_view::npos) {
      const char sign = tag + 1 < rest.size() ? rest[tag + 1] : ' ';
      if (sign == '%' || sign == '{' || sign == '#') break;
      ++tag;
    }
    if (tag == std::string_view::npos) {
      add(Token::Kind::Text, std::string(reader_.take(rest.size())));
      return;
    }
    const char kind = rest[tag + 1];
    const char control = tag + 2 < rest.size() ? rest[tag + 2] : ' ';
    text(rest.substr(0, tag), control, kind == '{');
    reader_.take(tag);
    line_begins_ = false;
    if (kind == '#') {
      comment();
    } else if (const auto raw = kind == '%' ? raw_begin() : std::nullopt) {
      raw_text(*raw);
    } else {
      const bool block = kind == '%';
      add(block ? Token::Kind::BlockBegin : Token::Kind::OutputBegin, "");
      reader_.take(control == '-' || control == '+' ? 3 : 2);
      inside(block);
    }
  }

  // White space before a tag goes with "-"; before a block or a comment that begins its line it goes unless
  // "+".
  void text(std::string_view text, char control, bool output) {
    if (control == '-') {
      text = strip_space(text, Sides::Right);
    } else if (control != '+' && !output) {
      const size_t line = text.rfind('\n') + 1;  // 0 when there is none
      const bool begins = line > 0 || line_begins_;
      if (begins && line < text.size() && skip_space(text, line) == text.size()) text = text.substr(0, line);
    }
    if (!text.empty()) add(Token::Kind::Text, std::string(text));
  }

  void comment() {
    const int line = reader_.line();
    const std::string_view rest = reader_.rest();
    const size_t begin = rest.size() > 2 && (rest[2] == '-' || rest[2] == '+') ? 3 : 2;
    const size_t end = rest.find("#}", begin);
    if (end == std::string_view::npos) reader_.fail_at(line, "the comment has no end");
    const char control = end > begin ? rest[end - 1] : ' ';
    reader_.take(end + 2);
    close(control, true);
  }

  // What follows a tag: "-" takes the white space, and a block takes its line end.
  void close(char control, bool block) {
    const std::string_view rest = reader_.rest();
    std::string_view taken;
    if (control == '-') {
      taken = reader_.take(skip_space(rest, 0));
    } else if (control != '+' && block && rest.starts_with('\n')) {
      taken = reader_.take(1);
    }
    line_begins_ = taken.ends_with('\n');
  }

  // The size of "{% raw %}" when that is what comes.
  std::optional<size_t> raw_begin() const {
    const std::string_view rest = reader_.rest();
    const auto end = tag_named("raw", rest, 0);
    if (!end) return std::nullopt;
    return rest.substr(*end).starts_with("+") ? std::nullopt : end;
  }

  // Where "{%- name " ends that begins at `offset`: at the "%}", or at the sign before it.
  static std::optional<size_t> tag_named(std::string_view name, std::string_view rest, size_t offset) {
    size_t at = offset + 2;
    if (at < rest.size() && (rest[at] == '-' || rest[at] == '+')) ++at;
    at = skip_space(rest, at);
    if (!rest.substr(std::min(at, rest.size())).starts_with(name)) return std::nullopt;
    at = skip_space(rest, at + name.size());
    const std::string_view tail = rest.substr(at);
    const bool ends = tail.starts_with("%}") || tail.starts_with("-%}") || tail.starts_with("+%}");
    return ends ? std::optional(at) : std::nullopt;
  }

  void raw_text(size_t begin_size) {
    const int line = reader_.line();
    const bool strips = reader_.rest()[begin_size] == '-';
    reader_.take(begin_size + (strips ? 3 : 2));
    // The line end after "{% raw %}" is the text's own.
    close(strips ? '-' : '+', true);
    const std::string_view rest = reader_.rest();
    for (size_t tag = rest.find("{%"); tag != std::string_view::npos; tag = rest.find("{%", tag + 1)) {
      const auto end = tag_named("endraw", rest, tag);
      if (!end) continue;
      text(rest.substr(0, tag), rest[tag + 2], false);
      const char control = rest[*end];
      reader_.take(*end + (control == '%' ? 2 : 3));
      close(control, true);
      return;
    }
    reader_.fail_at(line, "'raw' has no 'endraw'");
  }

  // The tokens of a tag up to its end, which does not count inside brackets.
  void inside(bool block) {
    std::string brackets;
    while (true) {
      reader_.skip_white_space();
      if (reader_.at_end()) return;
      if (brackets.empty() && tag_end(block)) return;
      tokens_.push_back(reader_.next());
      const Token& token = tokens_.back();
      if (token.kind == Token::Kind::Sign) match_bracket(brackets, token);
    }
  }

  bool tag_end(bool block) {
    const std::string_view rest = reader_.rest();
    const std::string_view mark = block ? "%}" : "}}";
    const bool controlled = rest.starts_with('-') || (block && rest.starts_with('+'));
    if (!rest.substr(controlled ? 1 : 0).starts_with(mark)) return false;
    const char control = controlled ? rest[0] : ' ';
    add(block ? Token::Kind::BlockEnd : Token::Kind::OutputEnd, "");
    reader_.take(mark.size() + (controlled ? 1 : 0));
    close(control, block);
    return true;
  }

  void match_bracket(std::string& open, const Token& token) {
    static constexpr std::string_view kOpen = "([{";
    static constexpr std::string_view kClose = ")]}";
    if (kOpen.find(token.text) != std::string_view::npos) {
      open.push_back(kClose[kOpen.find(token.text)]);
    } else if (kClose.find(token.text) != std::string_view::npos) {
      if (open.empty()) reader_.fail_at(token.line, "nothing is open that '", token.text, "' closes");
      if (open.back() != token.text[0]) {
        reader_.fail_at(token.line, "'", open.back(), "' is wanted, saw '", token.text, "'");
      }
      open.pop_back();
    }
  }

  void add(Token::Kind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.line = reader_.line();
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
  }

  TokenReader reader_;
  std::vector<Token> tokens_;
  bool line_begins_ = true;  // what is read next stands at the beginning of a line
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, const std::string& where) {
  internal::character_offsets(source, where);
  return Lexer(with_plain_line_ends(source), where).run();
}

}  // namespace sluice::text::jinja
