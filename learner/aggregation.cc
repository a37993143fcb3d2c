#include "learner/aggregation.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace sluice::learner {

at::Tensor aggregation_weights(Aggregation mode, const std::vector<int64_t>& lengths,
                               const StepDenominators& step, SequenceDenominator counted) {
  const auto at_least_one = [](int64_t count) { return static_cast<double>(std::max<int64_t>(1, count)); };
  const double sequences = at_least_one(counted == SequenceDenominator::All ? step.sequences : step.nonempty);
  std::vector<double> weights;
  weights.reserve(static_cast<size_t>(std::accumulate(lengths.begin(), lengths.end(), int64_t{0})));
  for (const int64_t length : lengths) {
    require(length >= 0, "aggregation_weights: a sequence of ", length, " tokens");
    double divisor = sequences;  // SeqMeanTokenSum
    if (mode == Aggregation::TokenMean) divisor = at_least_one(step.tokens);
    if (mode == Aggregation::SeqMeanTokenMean) divisor = sequences * at_least_one(length);
    if (mode == Aggregation::SeqMeanTokenSumNorm) divisor = sequences * at_least_one(step.max_length);
    weights.insert(weights.end(), static_cast<size_t>(length), 1.0 / divisor);
  }
  return at::tensor(weights, at::kDouble);
}

}  // namespace sluice::learner
