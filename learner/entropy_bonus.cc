#include "learner/entropy_bonus.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sluice::learner {

at::Tensor entropy_bonus(const at::Tensor& entropy, int64_t step_tokens, double coefficient) {
  require(step_tokens >= entropy.numel(), "entropy_bonus: ", entropy.numel(), " tokens of a step of ",
          step_tokens);
  return entropy.sum() * (-coefficient / static_cast<double>(std::max<int64_t>(1, step_tokens)));
}

void EntropyController::update(double entropy) {
  require(std::isfinite(entropy), "EntropyController: an entropy of ", entropy);
  coefficient = std::clamp(entropy <= target ? coefficient + delta : coefficient - delta, least, most);
  measured = entropy;
}

}  // namespace sluice::learner
