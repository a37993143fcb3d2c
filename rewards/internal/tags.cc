#include "rewards/internal/tags.h"

#include <algorithm>

#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

bool is_tag_name(const std::string& tag) {
  return !tag.empty() && std::all_of(tag.begin(), tag.end(), [](char c) {
    return is_letter(c) || is_digit(c) || c == '_' || c == '-';
  });
}

}  // namespace

std::vector<std::string> tags_option(const RewardSpec& spec) {
  const auto tags = option<std::vector<std::string>>(spec, "tags", {"think", "answer"});
  require<UsageError>(!tags.empty(), speaker(spec), ": tags is empty");
  for (auto tag = tags.begin(); tag != tags.end(); ++tag) {
    require<UsageError>(is_tag_name(*tag), speaker(spec), ": a tag is letters, digits, _ and -, saw \"", *tag,
                        "\"");
    require<UsageError>(std::find(tags.begin(), tag, *tag) == tag, speaker(spec), ": tags names \"", *tag,
                        "\" twice");
  }
  return tags;
}

std::optional<size_t> only_place(std::string_view text, std::string_view mark) {
  const auto first = text.find(mark);
  if (first == std::string_view::npos || text.find(mark, first + 1) != std::string_view::npos)
    return std::nullopt;
  return first;
}

}  // namespace sluice::rewards::internal
