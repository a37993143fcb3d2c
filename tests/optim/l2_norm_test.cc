#include "optim/internal/l2_norm.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/shared_work.h"

namespace sluice::optim {
namespace {

TEST(L2Norm, IsThatOfAllNumbersWhateverTheirCount) {
  for (const int64_t count : {0, 1, 1023, 1024, 1025, 1024 * 1024 + 7, 3'000'017}) {
    const auto flat = at::full({count}, 0.5, at::kFloat);
    const double expected = 0.5 * std::sqrt(static_cast<double>(count));
    EXPECT_NEAR(l2_norm(flat).item<double>(), expected, 1e-7 * expected) << count;  // rows in float32
  }
}

TEST(L2Norm, HasTheSameBitsWithAnyNumberOfThreads) {
  const int before = work_threads();
  const auto flat = (at::arange(3'000'017, at::kDouble) * 0.37).sin().to(at::kFloat);
  set_work_threads(1);
  const double expected = l2_norm(flat).item<double>();
  for (const int threads : {2, 3, 4}) {
    set_work_threads(threads);
    EXPECT_EQ(l2_norm(flat).item<double>(), expected) << threads << " threads";
  }
  set_work_threads(before);
}

}  // namespace
}  // namespace sluice::optim
