#include "rewards/internal/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace sluice::rewards::internal {
namespace {

constexpr size_t kMaxPattern = 1u << 16;      // bytes
constexpr uint32_t kMaxSteps = 1'000'000;     // tens of milliseconds
constexpr uint32_t kMaxDepth = 250'000;       // places to go back to at once
constexpr uint32_t kMaxKibibytes = 64 << 10;  // for those
// PCRE2 counts anew from each place that a match may begin at; callouts, one for each item that is tried, are
// counted over all of them. Without possessive repetition of its own making, within which there are none.
constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C |
                              PCRE2_AUTO_CALLOUT | PCRE2_NO_AUTO_POSSESS;

int count_step(pcre2_callout_block*, void* steps) {
  return ++*static_cast<uint32_t*>(steps) > kMaxSteps ? PCRE2_ERROR_MATCHLIMIT : 0;
}

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

Pattern::Pattern(const std::string& pattern, const std::string& where, Extent extent) : where_(where) {
  require<UsageError>(pattern.size() <= kMaxPattern, where, ": a regular expression of ", pattern.size(),
                      " bytes, at most ", kMaxPattern, " are read");
  require<UsageError>(
      !pattern.starts_with("(*"), where,
      ": a regular expression begins with \"(*\", with which PCRE2's limits could be changed");
  int error = 0;
  size_t offset = 0;
  pcre2_code* code = pcre2_compile(
      reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
      kOptions | (extent == Extent::All ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0u), &error, &offset, nullptr);
  require<UsageError>(code != nullptr, where, ": the regular expression \"", pattern,
                      "\" is wrong: ", message_of(error), " at byte ", offset);
  code_.reset(code, pcre2_code_free);
}

std::optional<Pattern::Match> Pattern::search(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, decltype(&pcre2_match_data_free)> data(
      pcre2_match_data_create_from_pattern(code_.get(), nullptr), pcre2_match_data_free);
  const std::unique_ptr<pcre2_match_context, decltype(&pcre2_match_context_free)> context(
      pcre2_match_context_create(nullptr), pcre2_match_context_free);
  require(data != nullptr && context != nullptr, where_, ": out of memory");
  uint32_t steps = 0;
  pcre2_set_callout(context.get(), count_step, &steps);
  pcre2_set_match_limit(context.get(), kMaxSteps);
  pcre2_set_depth_limit(context.get(), kMaxDepth);
  pcre2_set_heap_limit(context.get(), kMaxKibibytes);
  const int matched = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), 0, 0,
                                  data.get(), context.get());
  if (matched == PCRE2_ERROR_NOMATCH) return std::nullopt;
  require(matched > 0, where_, ": the regular expression cannot be matched to a text of ", text.size(),
          " bytes: ", message_of(matched));
  const size_t* ends = pcre2_get_ovector_pointer(data.get());
  // \K in a lookahead can end a match before it begins.
  require(ends[0] <= ends[1] && ends[1] <= text.size(), where_,
          ": the regular expression finds a match that ends before it begins");
  Match match{.all = text.substr(ends[0], ends[1] - ends[0]), .group = std::nullopt};
  if (matched > 1 && ends[2] != PCRE2_UNSET && ends[2] <= ends[3])
    match.group = text.substr(ends[2], ends[3] - ends[2]);
  return match;
}

}  // namespace sluice::rewards::internal
