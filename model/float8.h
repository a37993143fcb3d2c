// Weights in eight-bit floating point that share a scale block by block, as DeepSeek-V3 stores them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace sluice::model {

bool is_float8(at::ScalarType type);

// Value (i, j) of `weight` [rows, columns] times scale_inv[i / block_rows, j / block_columns], in float32:
// one rounding, so the same bits as torch's own conversion and product. A dimension that is no multiple of
// its block ends in a smaller one. Throws DataError naming both shapes unless `weight` is F8_E4M3 or F8_E5M2
// and `scale_inv` is floating-point, [ceil(rows / block_rows), ceil(columns / block_columns)].
at::Tensor dequantise_blocks(const at::Tensor& weight, const at::Tensor& scale_inv, int64_t block_rows,
                             int64_t block_columns);

}  // namespace sluice::model
