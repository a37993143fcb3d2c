// Columns of a line of a JSONL file.
#pragma once

#include <optional>
#include <string>

#include "base/json.h"

namespace sluice::text::internal {

// The column as text; a number or a boolean is written as JSON writes it. Throws DataError naming `where`,
// the nearest column and all columns when there is none, and the type of a column that is no text. `option`
// is the recipe's key that says which column to take, or "" when nothing does.
std::string column_text(const Json& row, const std::string& column, const std::string& where,
                        const std::string& option);

// The column as a finite number; throws as column_text() does.
double column_number(const Json& row, const std::string& column, const std::string& where,
                     const std::string& option);

// The column as text, but nothing when the column is missing or no text.
std::optional<std::string> find_column_text(const Json& row, const std::string& column);

}  // namespace sluice::text::internal
