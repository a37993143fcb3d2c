#include <utility>

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

ColumnTexts column_texts(const RewardRequest& request, const std::string& column) {
  const auto found = request.row->columns.find(column);
  if (found == request.row->columns.end() || !found->is_array()) {
    auto one = column_text(request, column);
    return {.texts = {std::move(one.text)}, .problem = std::move(one.problem)};
  }
  ColumnTexts all;
  for (const auto& item : *found) {
    if (item.is_string()) all.texts.push_back(item.get<std::string>());
  }
  if (all.texts.empty() || all.texts.size() != found->size()) {
    all.problem = "column \"" + column + "\" is a list that is not of texts alone at " + request.row->where();
  }
  return all;
}

}  // namespace sluice::rewards::internal
