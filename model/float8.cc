#include "model/float8.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"
#include "base/shared_work.h"

namespace sluice::model {
namespace {

int64_t divide_up(int64_t size, int64_t block) { return size / block + (size % block != 0 ? 1 : 0); }

void check_blocks(const at::Tensor& weight, const at::Tensor& scale_inv, int64_t block_rows,
                  int64_t block_columns) {
  require<DataError>(block_rows >= 1 && block_columns >= 1, "dequantise_blocks: blocks of ", block_rows,
                     " x ", block_columns);
  require<DataError>(is_float8(weight.scalar_type()), "dequantise_blocks: the weight is ",
                     weight.scalar_type(), ", F8_E4M3 or F8_E5M2 is wanted");
  require<DataError>(scale_inv.is_floating_point(), "dequantise_blocks: the scales are ",
                     scale_inv.scalar_type());
  require<DataError>(weight.dim() == 2 && scale_inv.dim() == 2 &&
                         scale_inv.size(0) == divide_up(weight.size(0), block_rows) &&
                         scale_inv.size(1) == divide_up(weight.size(1), block_columns),
                     "dequantise_blocks: a weight ", weight.sizes(), " and scales ", scale_inv.sizes(),
                     " do not fit blocks of ", block_rows, " x ", block_columns);
}

}  // namespace

bool is_float8(at::ScalarType type) { return type == at::kFloat8_e4m3fn || type == at::kFloat8_e5m2; }

at::Tensor dequantise_blocks(const at::Tensor& weight, const at::Tensor& scale_inv, int64_t block_rows,
                             int64_t block_columns) {
  check_blocks(weight, scale_inv, block_rows, block_columns);
  const auto scales = scale_inv.to(at::kCPU, at::kFloat).contiguous();
  auto values = weight.to(at::kCPU).to(at::kFloat).contiguous();
  const int64_t columns = values.size(1), scales_per_row = scales.size(1);
  const float* scale_data = scales.const_data_ptr<float>();
  float* data = values.mutable_data_ptr<float>();
  share_work(values.size(0), /*grain_size=*/16, [&](int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) {
      const float* row_scales = scale_data + i / block_rows * scales_per_row;
      for (int64_t block = 0; block < scales_per_row; ++block) {
        const int64_t begin = block * block_columns, end = std::min(columns, begin + block_columns);
        for (int64_t j = begin; j < end; ++j) data[i * columns + j] *= row_scales[block];
      }
    }
  });
  return values;
}

}  // namespace sluice::model
