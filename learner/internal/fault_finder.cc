#include "learner/internal/fault_finder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace sluice::learner::internal {
namespace {

constexpr double kMostLogprob = 1e-4;  // above 0 by rounding alone

// Whether all of the tokens are.
bool all_of(const at::Tensor& good, int64_t first, int64_t count) {
  return good.narrow(0, first, count).all().item<bool>();
}

}  // namespace

void FaultFinder::look(const MicroBatch& micro, const at::Tensor& logprobs, const PolicyLoss& loss) {
  for (const auto& completion : micro.completions) groups_.try_emplace(completion.group, State::Sound);
  const auto likely = logprobs.isfinite().logical_and_(logprobs.le(kMostLogprob));
  const auto bounded = likely.logical_and(loss.ratio.isfinite());
  const auto good = bounded.logical_and(loss.token_loss.isfinite());
  if (good.all().item<bool>()) return;
  found_ = true;
  int64_t first = 0;
  for (size_t i = 0; i < micro.completions.size(); ++i) {
    const int64_t count = micro.lengths[i];
    auto& state = groups_[micro.completions[i].group];
    if (state == State::Sound) {
      state = !all_of(likely, first, count)    ? State::Logprob
              : !all_of(bounded, first, count) ? State::Ratio
              : !all_of(good, first, count)    ? State::Loss
                                               : State::Sound;
    }
    first += count;
  }
}

const char* FaultFinder::reason_of(State state) {
  switch (state) {
    case State::Logprob:
      return "the log-prob of a token is not finite, or above 0";
    case State::Ratio:
      return "the ratio of a token is not finite";
    default:
      return "the loss of a token is not finite";
  }
}

StepFault FaultFinder::fault(double loss, size_t num_groups, transport::Collective& ranks) const {
  std::vector<double> own(num_groups + 1, 0.0);
  for (const auto& [group, state] : groups_) own[group] = static_cast<double>(state);
  own.back() = std::isfinite(loss) ? 0.0 : 1.0;
  size_t seen = 0;
  bool finite = true;
  std::map<size_t, std::string> bad;
  const auto all = transport::gather(ranks, own);
  for (const auto& row : all) finite = finite && row.back() == 0.0;
  for (size_t group = 0; group < num_groups; ++group) {
    auto worst = State::Unseen;
    for (const auto& row : all) worst = std::max(worst, static_cast<State>(row[group]));
    if (worst != State::Unseen) ++seen;
    if (worst > State::Sound) bad.emplace(group, reason_of(worst));
  }
  if (bad.empty()) return {.cause = finite ? "the gradient is not finite" : "the loss is not finite"};
  // One alone is not blamed either: it may be the weights.
  if (bad.size() == seen) {
    const bool several = seen > 1;
    return {.cause = bad.begin()->second + (several ? " in every group" : ""), .everywhere = several};
  }
  return {.cause = bad.begin()->second, .poisoned = bad};
}

}  // namespace sluice::learner::internal
