#include "learner/internal/fault_finder.h"

#include <ATen/ATen.h>

#include <cmath>

namespace sluice::learner::internal {
namespace {

constexpr double kMostLogprob = 1e-4;  // above 0 by rounding alone

// Whether all of the tokens are.
bool all_of(const at::Tensor& good, int64_t first, int64_t count) {
  return good.narrow(0, first, count).all().item<bool>();
}

}  // namespace

void FaultFinder::look(const MicroBatch& micro, const at::Tensor& logprobs, const PolicyLoss& loss) {
  for (const auto& completion : micro.completions) seen_.insert(completion.group);
  const auto likely = logprobs.isfinite().logical_and_(logprobs.le(kMostLogprob));
  const auto bounded = likely.logical_and(loss.ratio.isfinite());
  const auto good = bounded.logical_and(loss.token_loss.isfinite());
  if (good.all().item<bool>()) return;
  int64_t first = 0;
  for (size_t i = 0; i < micro.completions.size(); ++i) {
    const int64_t count = micro.lengths[i];
    if (!all_of(likely, first, count)) {
      bad_.try_emplace(micro.completions[i].group, "the log-prob of a token is not finite, or above 0");
    } else if (!all_of(bounded, first, count)) {
      bad_.try_emplace(micro.completions[i].group, "the ratio of a token is not finite");
    } else if (!all_of(good, first, count)) {
      bad_.try_emplace(micro.completions[i].group, "the loss of a token is not finite");
    }
    first += count;
  }
}

StepFault FaultFinder::fault(double loss) const {
  if (!found())
    return {.cause = std::isfinite(loss) ? "the gradient is not finite" : "the loss is not finite"};
  // One alone is not blamed either: it may be the weights.
  if (bad_.size() == seen_.size()) {
    const bool several = seen_.size() > 1;
    return {.cause = bad_.begin()->second + (several ? " in every group" : ""), .everywhere = several};
  }
  return {.cause = bad_.begin()->second, .poisoned = bad_};
}

}  // namespace sluice::learner::internal
