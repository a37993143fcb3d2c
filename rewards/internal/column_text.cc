#include <utility>

#include "rewards/internal/final_answer.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {

namespace {

// A column, or "reward_model.ground_truth": a member of one, as verl's files have it.
const Json* find_column(const Json& columns, const std::string& name) {
  const auto found = columns.find(name);
  if (found != columns.end()) return &*found;
  const auto dot = name.find('.');
  const auto outer = dot == std::string::npos ? columns.end() : columns.find(name.substr(0, dot));
  return outer == columns.end() || !outer->is_object() ? nullptr : find_column(*outer, name.substr(dot + 1));
}

}  // namespace

ColumnText column_text(const RewardRequest& request, const std::string& column) {
  const auto unusable = [&](const std::string& why) {
    return ColumnText{.text = "",
                      .problem = "column \"" + column + "\" " + why + " at " + request.row->where()};
  };
  const Json* found = find_column(request.row->columns, column);
  if (found == nullptr) return unusable("is missing");
  if (!found->is_string() && !found->is_number() && !found->is_boolean()) {
    return unusable(std::string("is of type ") + found->type_name());
  }
  std::string text = found->is_string() ? found->get<std::string>() : found->dump();
  const auto trimmed = trim(text);
  if (trimmed.empty()) return unusable("is empty");
  if (trimmed.size() < text.size()) text = std::string(trimmed);
  return {.text = std::move(text), .problem = ""};
}

ColumnTexts column_texts(const RewardRequest& request, const std::string& column) {
  const Json* found = find_column(request.row->columns, column);
  if (found == nullptr || !found->is_array()) {
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
