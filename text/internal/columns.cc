#include "text/internal/columns.h"

#include <cmath>
#include <vector>

#include "base/error.h"
#include "base/nearest.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kMaxNamed = 20;       // columns an error message lists
constexpr size_t kMaxNameBytes = 100;  // a column with a longer name is not listed

[[noreturn]] void fail_missing(const Json& row, const std::string& column, const std::string& where,
                               const std::string& option) {
  std::vector<std::string> names;
  for (const auto& [name, value] : row.items()) {
    if (name.size() <= kMaxNameBytes && names.size() < kMaxNamed) names.push_back(name);
  }
  std::string listed;
  for (const auto& name : names) listed += (listed.empty() ? "" : ", ") + name;
  if (names.size() < row.size()) listed += ", ...";

  fail<DataError>(where, ": no column \"", column, "\"",
                  option.empty() ? "" : ", which data." + option + " asks for", "; the line has ",
                  listed.empty() ? "no columns" : "the columns " + listed, did_you_mean(column, names));
}

}  // namespace

std::string column_text(const Json& row, const std::string& column, const std::string& where,
                        const std::string& option) {
  const auto found = row.find(column);
  if (found == row.end()) fail_missing(row, column, where, option);
  auto text = find_column_text(row, column);
  require<DataError>(text.has_value(), where, ": the column \"", column, "\" should be text, saw ",
                     found->type_name());
  return *std::move(text);
}

double column_number(const Json& row, const std::string& column, const std::string& where,
                     const std::string& option) {
  const auto found = row.find(column);
  if (found == row.end()) fail_missing(row, column, where, option);
  require<DataError>(found->is_number(), where, ": the column \"", column, "\" should be a number, saw ",
                     found->type_name());
  const auto number = found->get<double>();
  require<DataError>(std::isfinite(number), where, ": the column \"", column, "\" is ", number);
  return number;
}

std::optional<std::string> find_column_text(const Json& row, const std::string& column) {
  const auto found = row.find(column);
  if (found == row.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_number() || found->is_boolean()) return found->dump();
  return std::nullopt;
}

}  // namespace sluice::text::internal
