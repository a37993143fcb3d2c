// keyword: the share of `words` that stand in the completion, each as a whole word or phrase, in any case
// unless ignore_case is false.
//
// With words = ["cat", "New York", "C++"]:
//
//   The cat went to new york.     2/3
//   Concatenate in New Yorkshire  0     a part of a word is none
//   C++ for cats, cat!            2/3
#include "rewards/internal/phrases.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

class Keyword final : public CompletionReward {
 public:
  explicit Keyword(const RewardSpec& spec) : CompletionReward(spec), phrases_(spec) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto count = static_cast<double>(phrases_.count_in(request.completion));
    return RewardOutcome::scored(count / static_cast<double>(phrases_.words().size()), {{"found", count}});
  }

  const Phrases phrases_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_keyword(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<Keyword>(spec);
}

}  // namespace sluice::rewards::internal
