// The gradient, summed over ranks while a backward is still at work on it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "model/parameters.h"
#include "transport/collective.h"

namespace torch::autograd {
struct Node;
}

namespace sluice::optim {

// Of one flat buffer, summed stretch by stretch from its end to its start, as a backward completes it. Which
// numbers are summed together depends on the parameters alone, and so do the bits: not on what was complete
// when.
class GradientSum {
 public:
  // `grad` holds the gradients of `parameters`, which are bound, one after another. Both and `ranks` outlive
  // it.
  GradientSum(const model::Parameters& parameters, at::Tensor grad, transport::Collective& ranks);
  // Of stretches of so many numbers or more.
  GradientSum(const model::Parameters& parameters, at::Tensor grad, transport::Collective& ranks,
              int64_t stretch_numbers);
  ~GradientSum();
  GradientSum(const GradientSum&) = delete;
  GradientSum& operator=(const GradientSum&) = delete;

  // What the next backward completes is begun to be summed in it. Until finish() nobody else sums.
  void expect_last_backward();
  // The numbers that are summed by finish() alone, whatever is complete: what is written there before reaches
  // all ranks.
  at::Tensor kept_back() const;
  // Sums what is left and returns when all of it is summed.
  void finish();

  int64_t num_stretches() const { return static_cast<int64_t>(stretches_.size()); }
  int64_t num_begun() const { return static_cast<int64_t>(under_way_.size()); }
  // That finish() waited, since the last call.
  double take_wait_seconds();

 private:
  struct Stretch {
    int64_t first = 0, count = 0;
    int64_t trained = 0;    // parameters that lie in it
    int64_t completed = 0;  // of these, by the last backward
  };
  struct Hook;

  void complete(size_t slot);
  void begin_next();

  const at::Tensor grad_;
  transport::Collective& ranks_;
  std::vector<Stretch> stretches_;  // in the order in which they are summed
  std::vector<size_t> stretch_of_;  // by parameter
  std::vector<bool> is_complete_;   // by parameter, in the last backward
  bool expects_ = false;
  std::vector<transport::Collective::EndSum> under_way_;
  double wait_s_ = 0.0;
  // A parameter's gradient is complete when the node that adds to it has run; each is kept with its hook's
  // key.
  std::vector<std::pair<std::shared_ptr<torch::autograd::Node>, uintptr_t>> hooks_;
};

}  // namespace sluice::optim
