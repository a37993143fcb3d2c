// Regular expressions of PCRE2 over hostile text.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

// PCRE2's own type, so that its header stays in pattern.cc.
struct pcre2_real_code_8;

namespace sluice::rewards::internal {

// A compiled expression. Immutable, safe from any thread. Letters, digits and case are Unicode's; bytes that
// are no UTF-8 match nothing.
class Pattern {
 public:
  enum class Extent { Part, All };  // of the text that a match has to be

  // Throws UsageError naming `where` for what PCRE2 does not compile, for \C, and for settings (*...) in
  // front.
  Pattern(const std::string& pattern, const std::string& where, Extent extent = Extent::Part);

  struct Match {
    std::string_view all;
    std::optional<std::string_view> group;  // the first one, where the expression has one and it took part
  };
  // The first match; nothing where there is none. Throws Error when it takes a million steps, or too much
  // memory.
  std::optional<Match> search(std::string_view text) const;

 private:
  std::string where_;
  std::shared_ptr<pcre2_real_code_8> code_;
};

}  // namespace sluice::rewards::internal
