// bleu: BLEU-4 (Papineni 2002) of the completion against the row's column, from 0 to 1; a list of texts is
// several references.
//
// As sacreBLEU has it for one sentence: tokens of mteval-13a, an n-gram that is never met smoothed
// exponentially, and no longer n-grams looked for than the completion has.
//
//   the cat sat on the mat    the cat sat on the mat       1
//   the cat                   the cat sat on the mat       0.135...   exp(1 - 6/2): short ones pay
//   the the the the           the cat sat on the mat       0.115...   a word counts as often as it is there
//   a dog                     the cat sat                  0
#include <algorithm>
#include <cmath>
#include <map>

#include "rewards/internal/mteval_tokens.h"
#include "rewards/internal/scorers.h"
#include "rewards/internal/words.h"

namespace sluice::rewards::internal {
namespace {

constexpr size_t kOrder = 4;

using Ids = std::vector<int32_t>;
using Counts = std::map<Ids, int64_t>;

Counts ngrams(const Ids& ids, size_t n) {
  Counts counts;
  for (auto begin = ids.begin(); ids.end() - begin >= static_cast<std::ptrdiff_t>(n); ++begin) {
    ++counts[Ids(begin, begin + static_cast<std::ptrdiff_t>(n))];
  }
  return counts;
}

// How many of the completion's n-grams a reference has, each as often as one reference has it.
int64_t met(const Ids& given, const std::vector<Ids>& references, size_t n) {
  Counts allowed;
  for (const auto& reference : references) {
    for (const auto& [ngram, count] : ngrams(reference, n)) allowed[ngram] = std::max(allowed[ngram], count);
  }
  int64_t total = 0;
  for (const auto& [ngram, count] : ngrams(given, n)) {
    const auto found = allowed.find(ngram);
    if (found != allowed.end()) total += std::min(count, found->second);
  }
  return total;
}

// The length nearest to the completion's, of two the shorter.
size_t nearest_length(size_t length, const std::vector<Ids>& references) {
  const auto distance = [&](const Ids& reference) {
    return std::pair(std::max(length, reference.size()) - std::min(length, reference.size()),
                     reference.size());
  };
  return std::ranges::min_element(references, {}, distance)->size();
}

class Bleu final : public CompletionReward {
 public:
  explicit Bleu(const RewardSpec& spec)
      : CompletionReward(spec), column_(option<std::string>(spec, "column", "reference")) {}

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto texts = column_texts(request, column_);
    if (!texts.problem.empty()) return RewardOutcome::unscored(texts.problem);
    WordIds ids;
    const Ids given = ids.of(mteval_tokens(request.completion));
    std::vector<Ids> references;
    for (const auto& text : texts.texts) references.push_back(ids.of(mteval_tokens(text)));
    return RewardOutcome::scored(bleu(given, references));
  }

  static double bleu(const Ids& given, const std::vector<Ids>& references) {
    if (given.empty()) return 0.0;
    double logs = 0.0, smoothed = 1.0;
    bool any = false;
    size_t order = 0;
    for (; order < std::min(kOrder, given.size()); ++order) {
      const auto total = static_cast<double>(given.size() - order);
      const int64_t count = met(given, references, order + 1);
      any = any || count > 0;
      if (count == 0) smoothed *= 2.0;
      logs += std::log((count == 0 ? 1.0 / smoothed : static_cast<double>(count)) / total);
    }
    if (!any) return 0.0;
    const double shortness =
        static_cast<double>(nearest_length(given.size(), references)) / static_cast<double>(given.size());
    return std::exp(std::min(0.0, 1.0 - shortness) + logs / static_cast<double>(order));
  }

  const std::string column_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_bleu(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<Bleu>(spec);
}

}  // namespace sluice::rewards::internal
