// length: how near the number of sampled tokens n (end-of-sequence included) is to what is wanted.
//
// `target`: 1 at the target, falling in a straight line to 0 at no tokens and at twice the target:
// max(0, 1 - |n - target| / target). `max`: 1 up to max, falling in a straight line to 0 at twice max.
#include <algorithm>
#include <cmath>

#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

class Length final : public CompletionReward {
 public:
  explicit Length(const RewardSpec& spec)
      : CompletionReward(spec),
        target_(option<int64_t>(spec, "target", 0)),
        max_(option<int64_t>(spec, "max", 0)) {
    const bool one_given = spec.options.contains("target") != spec.options.contains("max");
    require<UsageError>(one_given, speaker(spec), ": give `target` or `max`, in tokens, and not both");
    require<UsageError>(std::max(target_, max_) > 0, speaker(spec), ": a length is at least 1 token, saw ",
                        std::min(target_, max_));
  }

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto n = static_cast<double>(request.tokens.size());
    const auto wanted = static_cast<double>(std::max(target_, max_));
    const double off = target_ > 0 ? std::abs(n - wanted) : std::max(0.0, n - wanted);
    return RewardOutcome::scored(std::max(0.0, 1.0 - off / wanted), {{"tokens", n}});
  }

  const int64_t target_;  // 0 where `max` is given
  const int64_t max_;     // 0 where `target` is given
};

}  // namespace

std::unique_ptr<RewardFunction> make_length(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<Length>(spec);
}

}  // namespace sluice::rewards::internal
