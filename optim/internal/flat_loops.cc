#include "optim/internal/flat_loops.h"

#include <cmath>

// The same loop for each instruction set: an inlined one is compiled for the function it is inlined into.
// Target clones would need the loader to choose, before a sanitizer is ready for it.
#define SLUICE_LOOP [[gnu::always_inline]] inline

namespace sluice::optim {
namespace {

template <class Real>
SLUICE_LOOP void move_weights(Real* __restrict weights, Real* __restrict grad, Real* __restrict first_moment,
                              Real* __restrict second_moment, int64_t count, const AdamWFactors& factors) {
  const auto grad_scale = static_cast<Real>(factors.grad_scale);
  const auto decay = static_cast<Real>(factors.decay), step_size = static_cast<Real>(factors.step_size);
  const auto new_share = static_cast<Real>(1.0 - factors.beta1);
  const auto beta2 = static_cast<Real>(factors.beta2), new_square = static_cast<Real>(1.0 - factors.beta2);
  const auto root_scale = static_cast<Real>(factors.root_scale), eps = static_cast<Real>(factors.eps);
  const auto move = [&](int64_t begin, int64_t end) [[gnu::always_inline]] {
    for (int64_t i = begin; i < end; ++i) {
      const Real g = grad_scale * grad[i];
      const Real m = first_moment[i] + new_share * (g - first_moment[i]);
      const Real v = beta2 * second_moment[i] + new_square * (g * g);
      grad[i] = 0;
      first_moment[i] = m;
      second_moment[i] = v;
      weights[i] -= decay * weights[i] + step_size * (m / (root_scale * std::sqrt(v) + eps));
    }
  };
  // Roots and quotients take so long that the processor sees the next numbers too late.
  constexpr int64_t kLine = 64 / sizeof(Real), kAhead = 32 * kLine;
  const int64_t lines = count / kLine * kLine;
  for (int64_t line = 0; line < lines; line += kLine) {
    __builtin_prefetch(weights + line + kAhead, /*to write=*/1);
    __builtin_prefetch(grad + line + kAhead, /*to write=*/1);
    __builtin_prefetch(first_moment + line + kAhead, /*to write=*/1);
    __builtin_prefetch(second_moment + line + kAhead, /*to write=*/1);
    move(line, line + kLine);
  }
  move(lines, count);
}

template <class Real>
SLUICE_LOOP double add_squares(const Real* x, int64_t count) {
  constexpr int64_t kLanes = 32;
  const auto square = [](Real number) { return static_cast<double>(number) * static_cast<double>(number); };
  double lanes[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (int64_t lane = 0; lane < kLanes; ++lane) lanes[lane] += square(x[i + lane]);
  }
  for (int64_t lane = 0; i + lane < count; ++lane) lanes[lane] += square(x[i + lane]);
  for (int64_t step = kLanes / 2; step > 0; step /= 2) {
    for (int64_t lane = 0; lane < step; ++lane) lanes[lane] += lanes[lane + step];
  }
  return lanes[0];
}

template <class Real>
struct Loops {
  void (*move_weights)(Real*, Real*, Real*, Real*, int64_t, const AdamWFactors&);
  double (*add_squares)(const Real*, int64_t);
};

#define SLUICE_LOOPS_OF(set, attributes)                                                                  \
  template <class Real>                                                                                   \
  attributes void move_weights_##set(Real* weights, Real* grad, Real* first, Real* second, int64_t count, \
                                     const AdamWFactors& factors) {                                       \
    move_weights(weights, grad, first, second, count, factors);                                           \
  }                                                                                                       \
  template <class Real>                                                                                   \
  attributes double add_squares_##set(const Real* x, int64_t count) {                                     \
    return add_squares(x, count);                                                                         \
  }                                                                                                       \
  template <class Real>                                                                                   \
  constexpr Loops<Real> loops_##set {                                                                     \
    move_weights_##set<Real>, add_squares_##set<Real>                                                     \
  }

SLUICE_LOOPS_OF(narrow, );
#ifdef __x86_64__
SLUICE_LOOPS_OF(avx2, [[gnu::target("avx2,fma")]]);
SLUICE_LOOPS_OF(avx512, [[gnu::target("avx512f,avx512vl,avx512dq,avx2,fma")]]);
#endif

template <class Real>
const Loops<Real>& widest() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    return loops_avx512<Real>;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return loops_avx2<Real>;
#endif
  return loops_narrow<Real>;
}

}  // namespace

template <class Real>
void adamw_loop(Real* weights, Real* grad, Real* first_moment, Real* second_moment, int64_t count,
                const AdamWFactors& factors) {
  widest<Real>().move_weights(weights, grad, first_moment, second_moment, count, factors);
}
template void adamw_loop(float*, float*, float*, float*, int64_t, const AdamWFactors&);
template void adamw_loop(double*, double*, double*, double*, int64_t, const AdamWFactors&);

template <class Real>
double sum_of_squares(const Real* x, int64_t count) {
  return widest<Real>().add_squares(x, count);
}
template double sum_of_squares(const float*, int64_t);
template double sum_of_squares(const double*, int64_t);

}  // namespace sluice::optim
