#include "text/internal/row_choice.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/philox.h"
#include "text/internal/columns.h"

namespace sluice::text::internal {
namespace {

class ChosenRows : public Rows {
 public:
  ChosenRows(std::unique_ptr<Rows> rows, std::vector<int64_t> chosen)
      : rows_(std::move(rows)), chosen_(std::move(chosen)) {}

  int64_t size() const override { return std::ssize(chosen_); }
  Row at(int64_t index) override { return rows_->at(chosen_.at(static_cast<size_t>(index))); }
  int64_t num_left_out() const override { return rows_->size() - size(); }

 private:
  const std::unique_ptr<Rows> rows_;
  const std::vector<int64_t> chosen_;
};

// Of UTF-8: all bytes that do not go on with a character.
int64_t num_characters(std::string_view text) {
  return std::ranges::count_if(text,
                               [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0) != 0x80; });
}

int64_t prompt_characters(const Row& row) {
  int64_t count = num_characters(row.prompt);
  for (int64_t i = 0; i < row.num_prompt_messages; ++i) {
    const auto& message = row.messages[static_cast<size_t>(i)];
    const auto content = message.find("content");
    if (content != message.end() && content->is_string())
      count += num_characters(content->get_ref<const std::string&>());
  }
  return count;
}

bool is_taken(const Row& row, const RowChoice& choice) {
  if (choice.max_prompt_chars > 0 && prompt_characters(row) > choice.max_prompt_chars) return false;
  if (!choice.min_pass_rate && !choice.max_pass_rate) return true;
  const double rate = column_number(row.columns, choice.pass_rate_column, row.where(), "pass_rate_column");
  return rate >= choice.min_pass_rate.value_or(rate) && rate <= choice.max_pass_rate.value_or(rate);
}

// Small keys first, the equal among them in an order of the seed.
std::vector<int64_t> sorted_by(const std::vector<double>& keys, const std::vector<int64_t>& rows,
                               uint64_t seed) {
  auto places = shuffled_indices(std::ssize(rows), seed, /*epoch=*/0);
  std::ranges::stable_sort(places, {}, [&](int64_t place) { return keys[static_cast<size_t>(place)]; });
  for (auto& place : places) place = rows[static_cast<size_t>(place)];
  return places;
}

}  // namespace

std::unique_ptr<Rows> choose_rows(std::unique_ptr<Rows> rows, const DataOptions& options) {
  const auto& choice = options.choice;
  std::vector<int64_t> chosen;
  std::vector<double> keys;
  for (int64_t i = 0; i < rows->size(); ++i) {
    const Row row = rows->at(i);
    if (!is_taken(row, choice)) continue;
    chosen.push_back(i);
    if (choice.orders()) keys.push_back(column_number(row.columns, choice.order_by, row.where(), "order_by"));
  }
  if (choice.orders()) chosen = sorted_by(keys, chosen, options.seed);
  require<DataError>(!chosen.empty(), options.path.string(), ": none of its ", rows->size(),
                     " rows is left by data.min_pass_rate, data.max_pass_rate and data.max_prompt_chars");
  return std::make_unique<ChosenRows>(std::move(rows), std::move(chosen));
}

}  // namespace sluice::text::internal
