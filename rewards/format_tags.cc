// format_tags: the share of the tags that stand as asked.
//
// A tag T stands as asked when "<T>" and "</T>" occur exactly once each, the opening one first, and it opens
// after the closing of the last tag before it in the list that stands as asked. What is between or around the
// tags does not matter.
#include <algorithm>
#include <optional>

#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

// Where `mark` stands in `text`; empty unless it occurs exactly once.
std::optional<size_t> only_place(std::string_view text, std::string_view mark) {
  const auto first = text.find(mark);
  if (first == std::string_view::npos || text.find(mark, first + 1) != std::string_view::npos)
    return std::nullopt;
  return first;
}

bool is_tag_name(const std::string& tag) {
  return !tag.empty() && std::all_of(tag.begin(), tag.end(), [](char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

class FormatTags final : public CompletionReward {
 public:
  explicit FormatTags(const RewardSpec& spec)
      : CompletionReward(spec), tags_(option<std::vector<std::string>>(spec, "tags", {"think", "answer"})) {
    require<UsageError>(!tags_.empty(), speaker(spec), ": tags is empty");
    for (auto tag = tags_.begin(); tag != tags_.end(); ++tag) {
      require<UsageError>(is_tag_name(*tag), speaker(spec), ": a tag is letters, digits, _ and -, saw \"",
                          *tag, "\"");
      require<UsageError>(std::find(tags_.begin(), tag, *tag) == tag, speaker(spec), ": tags names \"", *tag,
                          "\" twice");
    }
  }

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const std::string_view text = request.completion;
    std::map<std::string, double> parts;
    size_t from = 0;
    double right = 0;
    for (const auto& tag : tags_) {
      const auto opening = only_place(text, "<" + tag + ">");
      const auto closing = only_place(text, "</" + tag + ">");
      const bool stands = opening && closing && *opening >= from && *closing > *opening;
      parts[tag] = stands ? 1.0 : 0.0;
      if (!stands) continue;
      right += 1.0;
      from = *closing + tag.size() + 3;
    }
    return RewardOutcome::scored(right / static_cast<double>(tags_.size()), std::move(parts));
  }

  const std::vector<std::string> tags_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_format_tags(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<FormatTags>(spec);
}

}  // namespace sluice::rewards::internal
