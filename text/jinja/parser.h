// Tokens to the syntax tree.
#pragma once

#include <string>

#include "text/jinja/syntax.h"

namespace sluice::text::jinja {

// Throws DataError "where:line: ..." for what is malformed, nested more than `max_depth` levels, or a tag,
// filter or test that is not known here, by its name.
Block parse(std::string_view source, const std::string& where, int64_t max_depth);

}  // namespace sluice::text::jinja
