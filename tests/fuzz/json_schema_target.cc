#include <algorithm>
#include <optional>

#include "rewards/internal/json_schema.h"
#include "tests/fuzz/targets.h"

namespace sluice::fuzz {
namespace {

constexpr JsonLimits kLimits{.max_bytes = 1 << 20, .max_depth = 64};

// Whether the value keeps to the schema; nothing where that takes too long.
std::optional<bool> keeps_to(const rewards::internal::JsonSchema& schema, const Json& value) {
  try {
    const auto problem = schema.problem(value);
    must_hold(!problem || !problem->empty(), "a problem without a word");
    return !problem;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

void check_json_schema(std::string_view bytes) {
  const size_t line = std::min(bytes.find('\n'), bytes.size());
  refuse_or([&] {
    const rewards::internal::JsonSchema schema(parse_json(bytes.substr(0, line), "schema", kLimits),
                                               "fuzzed");
    const Json value = parse_json(bytes.substr(std::min(line + 1, bytes.size())), "value", kLimits);
    const auto kept = keeps_to(schema, value);
    must_hold(kept == keeps_to(schema, parse_json(value.dump(), "written", kLimits)),
              "another verdict when the value is read back");
  });
}

}  // namespace sluice::fuzz
