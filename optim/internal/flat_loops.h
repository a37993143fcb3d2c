// Loops over stretches of the flat buffers in memory, compiled for several instruction sets; the widest this
// processor has is chosen. They run on the calling thread; only float and double have them.
#pragma once

#include <cstdint>

namespace sluice::optim {

// Of one update by g = grad_scale * grad (spec section 17.1): theta -= decay * theta + step_size * m /
// (root_scale * sqrt(v) + eps).
struct AdamWFactors {
  double grad_scale = 1.0;
  double decay = 0.0;  // learning rate times weight decay
  double beta1 = 0.0, beta2 = 0.0;
  double step_size = 0.0, root_scale = 1.0;  // with the corrections of the first updates' moments
  double eps = 0.0;
};

// Reads and writes each of the `count` numbers once; the gradient becomes zero. What a number becomes does
// not depend on those beside it.
template <class Real>
void adamw_loop(Real* weights, Real* grad, Real* first_moment, Real* second_moment, int64_t count,
                const AdamWFactors& factors);

// In float64, in one order for every instruction set.
template <class Real>
double sum_of_squares(const Real* x, int64_t count);

}  // namespace sluice::optim
