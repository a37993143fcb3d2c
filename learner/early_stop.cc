#include "learner/early_stop.h"

#include <ATen/ATen.h>

namespace sluice::learner {
namespace {

constexpr double kOvershoot = 1.5;

}  // namespace

bool moved_too_far(double kl, int64_t tokens, double target, transport::Collective& ranks) {
  auto sums = at::tensor({kl, static_cast<double>(tokens)}, at::kDouble);
  ranks.all_reduce_sum(sums);
  return sums[0].item<double>() > kOvershoot * target * sums[1].item<double>();
}

}  // namespace sluice::learner
