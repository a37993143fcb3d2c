// rouge_l: ROUGE-L (Lin 2004) of the completion against the row's column: F1 of their longest common
// subsequence of words. Of several references (a list of texts) the best counts.
//
// Words are runs of the letters a to z and digits, in any case, as in Google's rouge_score; characters beyond
// ASCII, which that leaves out, are words by themselves.
//
//   the cat sat on the mat     the cat was on the mat    5 of 6 and 5 of 6: 0.833...
//   mat the on sat cat the     the cat sat on the mat    3 of 6 and 3 of 6: order counts
//   the cat                    the cat sat on the mat    2 of 2 and 2 of 6: 0.5
//   (nothing)                  the cat                   0
#include <algorithm>

#include "rewards/internal/common_subsequence.h"
#include "rewards/internal/scorers.h"
#include "rewards/internal/words.h"

namespace sluice::rewards::internal {
namespace {

class RougeL final : public CompletionReward {
 public:
  explicit RougeL(const RewardSpec& spec)
      : CompletionReward(spec), column_(option<std::string>(spec, "column", "reference")) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto references = column_texts(request, column_);
    if (!references.problem.empty()) return RewardOutcome::unscored(references.problem);
    RewardOutcome best;
    for (const auto& reference : references.texts) {
      auto outcome = against(request.completion, reference);
      if (!best.score || *outcome.score > *best.score) best = std::move(outcome);
    }
    return best;
  }

  static RewardOutcome against(const std::string& completion, const std::string& reference) {
    WordIds ids;
    const auto given = ids.of(words_in(completion, Marks::Drop)),
               wanted = ids.of(words_in(reference, Marks::Drop));
    const auto common = static_cast<double>(longest_common_subsequence(given, wanted));
    const double precision = given.empty() ? 0.0 : common / static_cast<double>(given.size());
    const double recall = wanted.empty() ? 0.0 : common / static_cast<double>(wanted.size());
    const double f1 = common == 0.0 ? 0.0 : 2.0 * precision * recall / (precision + recall);
    return RewardOutcome::scored(f1, {{"precision", precision}, {"recall", recall}});
  }

  const std::string column_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_rouge_l(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<RougeL>(spec);
}

}  // namespace sluice::rewards::internal
