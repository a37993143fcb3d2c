// soft_overlong: what a completion loses for coming near the limit (DAPO 2025; spec section 4.2).
//
// With n sampled tokens: 0 up to max - buffer, falling in a straight line to -factor at max, -factor beyond.
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

class SoftOverlong final : public CompletionReward {
 public:
  explicit SoftOverlong(const RewardSpec& spec)
      : CompletionReward(spec),
        max_(option<int64_t>(spec, "max", 0)),
        buffer_(option<int64_t>(spec, "buffer", max_ / 5)),
        factor_(option<double>(spec, "factor", 1.0)) {
    require<UsageError>(max_ > 0, speaker(spec), ": `max` is the limit in tokens, saw ", max_);
    require<UsageError>(buffer_ >= 0 && buffer_ <= max_, speaker(spec), ": a `buffer` of ", buffer_,
                        " before ", max_, " tokens");
    require<UsageError>(factor_ > 0.0, speaker(spec), ": a `factor` of ", factor_);
  }

 private:
  RewardOutcome score_one(const RewardRequest& request) const override {
    const auto n = std::ssize(request.tokens);
    const int64_t over = n - (max_ - buffer_);
    double penalty = 0.0;
    if (over > 0) {
      penalty = n > max_ ? factor_ : factor_ * static_cast<double>(over) / static_cast<double>(buffer_);
    }
    return RewardOutcome::scored(-penalty, {{"tokens", static_cast<double>(n)}});
  }

  const int64_t max_, buffer_;
  const double factor_;
};

}  // namespace

std::unique_ptr<RewardFunction> make_soft_overlong(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<SoftOverlong>(spec);
}

}  // namespace sluice::rewards::internal
