// blocklist: 1 when none of `words` stands in the completion, else 0; each is looked for as keyword does.
//
// With words = ["damn", "as an AI"]:
//
//   What a day.                  1
//   Damn, what a day.            0
//   Goddamned                    1   a part of a word is none
//   As an AI, I cannot.          0
//
// It goes by spelling: "d4mn" and "dam n" pass. Give it a weight that makes one such word cost what it
// should.
#include "rewards/internal/phrases.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

class Blocklist final : public CompletionReward {
 public:
  explicit Blocklist(const RewardSpec& spec) : CompletionReward(spec), phrases_(spec) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto count = static_cast<double>(phrases_.count_in(request.completion));
    return RewardOutcome::scored(count == 0.0 ? 1.0 : 0.0, {{"found", count}});
  }

  const Phrases phrases_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_blocklist(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<Blocklist>(spec);
}

}  // namespace sluice::rewards::internal
