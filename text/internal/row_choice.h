// Training rows as RowChoice wants them: some left out, some first.
#pragma once

#include <memory>

#include "text/dataset.h"

namespace sluice::text::internal {

// Reads every row once and keeps 8 bytes of each that is taken (more while it sorts). Throws DataError naming
// file and line for a row without a column that is asked for, and when no row is left.
std::unique_ptr<Rows> choose_rows(std::unique_ptr<Rows> rows, const DataOptions& options);

}  // namespace sluice::text::internal
