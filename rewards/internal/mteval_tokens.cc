#include "rewards/internal/mteval_tokens.h"

#include <sstream>
#include <utility>

#include "rewards/internal/ascii.h"

namespace sluice::rewards::internal {
namespace {

// ! to &, ( to +, : to @, [ to `, { to ~ and /
bool always_apart(char c) {
  return (c >= '!' && c <= '&') || (c >= '(' && c <= '+') || (c >= ':' && c <= '@') ||
         (c >= '[' && c <= '`') || (c >= '{' && c <= '~') || c == '/';
}

// What HTML writes for marks, and words that are broken at the end of a line.
std::string plain(std::string_view text) {
  constexpr std::pair<std::string_view, std::string_view> kWritten[] = {
      {"-\n", ""},   {"\n", " "},   {"&quot;", "\""}, {"&amp;", "&"},
      {"&lt;", "<"}, {"&gt;", ">"}, {"<skipped>", ""}};
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t taken = 0;
    for (const auto& [written, meant] : kWritten) {
      if (taken != 0 || !text.substr(at).starts_with(written)) continue;
      out += meant;
      taken = written.size();
    }
    if (taken == 0) out += text[at];
    at += taken == 0 ? 1 : taken;
  }
  return out;
}

}  // namespace

std::vector<std::string> mteval_tokens(std::string_view text) {
  const std::string line = " " + plain(text) + " ";
  std::string spaced;
  for (size_t at = 0; at < line.size(); ++at) {
    const char c = line[at];
    const bool point = (c == '.' || c == ',') && !(is_digit(line[at - 1]) && is_digit(line[at + 1]));
    if (always_apart(c) || point) {
      spaced += {' ', c, ' '};
    } else if (c == '-' && is_digit(line[at - 1])) {
      spaced += " - ";
    } else {
      spaced += c;
    }
  }
  std::istringstream in(spaced);
  std::vector<std::string> tokens;
  for (std::string token; in >> token;) tokens.push_back(std::move(token));
  return tokens;
}

}  // namespace sluice::rewards::internal
