#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {

ColumnText column_text(const RewardRequest& request, const std::string& column) {
  const auto unusable = [&](const std::string& why) {
    return ColumnText{.text = "",
                      .problem = "column \"" + column + "\" " + why + " at " + request.row->where()};
  };
  const Json& columns = request.row->columns;
  const auto found = columns.find(column);
  if (found == columns.end()) return unusable("is missing");
  if (!found->is_string() && !found->is_number() && !found->is_boolean()) {
    return unusable(std::string("is of type ") + found->type_name());
  }
  const std::string text = found->is_string() ? found->get<std::string>() : found->dump();
  const auto trimmed = trim(text);
  if (trimmed.empty()) return unusable("is empty");
  return {.text = std::string(trimmed), .problem = ""};
}

}  // namespace sluice::rewards::internal
