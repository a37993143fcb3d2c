// tag_count: the share of the marks "<T>" and "</T>" of the tags that occur exactly once, wherever they
// stand.
//
// Softer than format_tags, which wants the pairs whole and in order: a policy that has no format yet earns
// something for each mark. With the tags think and answer:
//
//   <think>a</think><answer>b</answer>       1.0
//   <think>a</think> b                       0.5
//   </answer><answer></think><think>         1.0   order is not looked at
//   <think><think>a</think><answer>b         0.5   twice is not once
#include "rewards/internal/scorers.h"
#include "rewards/internal/tags.h"

namespace sluice::rewards::internal {
namespace {

class TagCount final : public CompletionReward {
 public:
  explicit TagCount(const RewardSpec& spec) : CompletionReward(spec), tags_(tags_option(spec)) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    std::map<std::string, double> parts;
    double once = 0.0;
    for (const auto& tag : tags_) {
      for (const auto& mark : {"<" + tag + ">", "</" + tag + ">"}) {
        const bool stands = only_place(request.completion, mark).has_value();
        parts[mark] = stands ? 1.0 : 0.0;
        once += parts[mark];
      }
    }
    return RewardOutcome::scored(once / (2.0 * static_cast<double>(tags_.size())), std::move(parts));
  }

  const std::vector<std::string> tags_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_tag_count(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<TagCount>(spec);
}

}  // namespace sluice::rewards::internal
