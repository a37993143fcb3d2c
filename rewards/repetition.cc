// repetition: how little a completion repeats itself: different runs of `n` words / runs of `n` words
// (default 3).
//
// 1 for one that has no such run twice or is shorter than a run, near 0 for one that goes round in a circle.
// Words are runs of letters and digits, characters beyond ASCII and marks of punctuation each by themselves,
// in any case; with of = "tokens" it goes by the sampled tokens, which also sees one endless word.
//
//   a b c d e f          1      four runs of three, all different
//   a b c a b c          3/4    a b c, b c a, c a b, a b c
//   no no no no no no    1/4
//   yes                  1      too short to repeat anything
#include <algorithm>
#include <vector>

#include "rewards/internal/scorers.h"
#include "rewards/internal/words.h"

namespace sluice::rewards::internal {
namespace {

class Repetition final : public CompletionReward {
 public:
  explicit Repetition(const RewardSpec& spec)
      : CompletionReward(spec),
        n_(option<int64_t>(spec, "n", 3)),
        of_(option<std::string>(spec, "of", "words")) {
    require<UsageError>(n_ >= 1 && n_ <= kMaxRun, speaker(spec), ": n is from 1 to ", kMaxRun, ", saw ", n_);
    require<UsageError>(of_ == "words" || of_ == "tokens", speaker(spec),
                        ": of is \"words\" or \"tokens\", saw \"", of_, "\"");
  }

 private:
  static constexpr int64_t kMaxRun = 64;

  RewardOutcome score_one(const RewardRequest& request) const override {
    std::vector<int32_t> ids(request.tokens.begin(), request.tokens.end());
    if (of_ == "words") ids = WordIds().of(words_in(request.completion, Marks::Keep));
    const int64_t runs = std::max<int64_t>(0, std::ssize(ids) - n_ + 1);
    if (runs == 0) return RewardOutcome::scored(1.0, {{"runs", 0.0}});
    const auto run_at = [&](int64_t begin) {
      return std::span(ids).subspan(static_cast<size_t>(begin), static_cast<size_t>(n_));
    };
    std::vector<int64_t> begins(static_cast<size_t>(runs));
    for (int64_t i = 0; i < runs; ++i) begins[static_cast<size_t>(i)] = i;
    std::ranges::sort(begins, [&](int64_t a, int64_t b) {
      return std::ranges::lexicographical_compare(run_at(a), run_at(b));
    });
    const auto doubled = std::ranges::unique(
        begins, [&](int64_t a, int64_t b) { return std::ranges::equal(run_at(a), run_at(b)); });
    const auto different = static_cast<double>(runs - std::ssize(doubled));
    return RewardOutcome::scored(different / static_cast<double>(runs),
                                 {{"runs", static_cast<double>(runs)}});
  }

  const int64_t n_;
  const std::string of_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_repetition(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<Repetition>(spec);
}

}  // namespace sluice::rewards::internal
