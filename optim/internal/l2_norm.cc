#include "optim/internal/l2_norm.h"

#include <ATen/ATen.h>

namespace sluice::optim {
namespace {

constexpr int64_t kRow = 1024;  // short enough that ATen never shares it among threads

}  // namespace

at::Tensor l2_norm(const at::Tensor& flat) {
  const int64_t num_rows = flat.numel() / kRow, whole = num_rows * kRow;
  const auto rest = at::linalg_vector_norm(flat.narrow(0, whole, flat.numel() - whole)).to(at::kDouble);
  if (num_rows == 0) return rest;
  const auto rows = at::linalg_vector_norm(flat.narrow(0, 0, whole).view({num_rows, kRow}), 2, {{1}});
  return l2_norm(at::cat({rows.to(at::kDouble), rest.view({1})}));
}

}  // namespace sluice::optim
