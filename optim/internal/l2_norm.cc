#include "optim/internal/l2_norm.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/shared_work.h"
#include "optim/internal/flat_loops.h"

namespace sluice::optim {
namespace {

constexpr int64_t kRow = 1024;       // short enough that ATen never shares it among threads
constexpr int64_t kBlock = 1 << 16;  // numbers that one thread adds up

template <class Real>
double norm_of(const Real* x, int64_t count) {
  std::vector<double> sums(static_cast<size_t>((count + kBlock - 1) / kBlock));
  share_work(std::ssize(sums), /*grain_size=*/1, [&](int64_t begin, int64_t end) {
    for (int64_t block = begin; block < end; ++block) {
      const int64_t first = block * kBlock;
      sums[static_cast<size_t>(block)] = sum_of_squares(x + first, std::min(kBlock, count - first));
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return std::sqrt(total);
}

}  // namespace

at::Tensor l2_norm(const at::Tensor& flat) {
  if (flat.is_cpu() && flat.scalar_type() == at::kFloat)
    return at::scalar_tensor(norm_of(flat.const_data_ptr<float>(), flat.numel()), at::kDouble);
  const int64_t num_rows = flat.numel() / kRow, whole = num_rows * kRow;
  const auto rest = at::linalg_vector_norm(flat.narrow(0, whole, flat.numel() - whole)).to(at::kDouble);
  if (num_rows == 0) return rest;
  const auto rows = at::linalg_vector_norm(flat.narrow(0, 0, whole).view({num_rows, kRow}), 2, {{1}});
  return l2_norm(at::cat({rows.to(at::kDouble), rest.view({1})}));
}

}  // namespace sluice::optim
