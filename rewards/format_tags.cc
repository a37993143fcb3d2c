// format_tags: the share of the tags that stand as asked.
//
// A tag T stands as asked when "<T>" and "</T>" occur exactly once each, the opening one first, and it opens
// after the closing of the last tag before it in the list that stands as asked. What is between or around the
// tags does not matter.
#include "rewards/internal/scorers.h"
#include "rewards/internal/tags.h"

namespace sluice::rewards::internal {
namespace {

class FormatTags final : public CompletionReward {
 public:
  explicit FormatTags(const RewardSpec& spec) : CompletionReward(spec), tags_(tags_option(spec)) {}

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
