#include "learner/early_stop.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace sluice::learner {
namespace {

// As if another rank had seen so much.
class TwoRanks final : public transport::Collective {
 public:
  TwoRanks(double kl, double tokens) : kl_(kl), tokens_(tokens) {}
  int64_t rank() const override { return 0; }
  int64_t size() const override { return 2; }
  void all_reduce_sum(at::Tensor& tensor) override { tensor += at::tensor({kl_, tokens_}, at::kDouble); }
  void broadcast(at::Tensor&, int64_t /*root*/) override {}  // the other has the same

 private:
  const double kl_, tokens_;
};

TEST(EarlyStop, IsAtOneAndAHalfTimesTheTargetAsAMeanOverTokens) {
  transport::SoloCollective alone;
  EXPECT_FALSE(moved_too_far(/*kl=*/1.4, /*tokens=*/10, /*target=*/0.1, alone));
  EXPECT_TRUE(moved_too_far(/*kl=*/1.6, /*tokens=*/10, /*target=*/0.1, alone));
  EXPECT_FALSE(moved_too_far(/*kl=*/0.0, /*tokens=*/0, /*target=*/0.1, alone));
}

TEST(EarlyStop, IsOfTheTokensOfAllRanks) {
  TwoRanks calm(/*kl=*/0.0, /*tokens=*/90), wild(/*kl=*/20.0, /*tokens=*/90);
  EXPECT_FALSE(moved_too_far(1.6, 10, 0.1, calm));  // 0.016 a token
  EXPECT_TRUE(moved_too_far(0.0, 10, 0.1, wild));   // 0.2 a token
}

}  // namespace
}  // namespace sluice::learner
