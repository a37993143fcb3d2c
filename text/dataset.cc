#include "text/dataset.h"

#include <array>
#include <cmath>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/nearest.h"
#include "text/internal/readers.h"
#include "text/internal/row_choice.h"

namespace sluice::text {
namespace {

class StoredRows : public Rows {
 public:
  explicit StoredRows(std::vector<Row> rows) : rows_(std::move(rows)) {}
  int64_t size() const override { return std::ssize(rows_); }
  Row at(int64_t index) override { return rows_.at(static_cast<size_t>(index)); }

 private:
  const std::vector<Row> rows_;
};

// A reader whose rows are made all at once.
template <auto kRead>
std::unique_ptr<Rows> stored(const DataOptions& options, Split split) {
  return std::make_unique<StoredRows>(kRead(options, split));
}

struct Reader {
  const char* name;
  bool reads_a_file;
  std::unique_ptr<Rows> (*prompts)(const DataOptions&, Split);
  std::unique_ptr<Rows> (*examples)(const DataOptions&, Split);
};

constexpr std::array kReaders = {
    Reader{"jsonl", true, internal::open_jsonl_prompts, internal::open_jsonl_examples},
    Reader{"text", true, stored<internal::read_text_prompts>, stored<internal::read_text_examples>},
    Reader{"gsm8k_notes", true, stored<internal::read_gsm8k_notes>, stored<internal::read_gsm8k_notes>},
    Reader{"countdown", false, internal::open_countdown, internal::open_countdown},
    Reader{"digits", false, stored<internal::read_digits>, stored<internal::read_digits>},
};

const Reader& find_reader(const std::string& use) {
  for (const auto& reader : kReaders) {
    if (use == reader.name) return reader;
  }
  std::string names;
  for (const auto& name : dataset_readers()) names += (names.empty() ? "" : ", ") + name;
  fail<UsageError>("data.use: no reader is called \"", use, "\"; there are ", names,
                   did_you_mean(use, dataset_readers()));
}

// The rows of several files, one file after the other.
class JoinedRows : public Rows {
 public:
  explicit JoinedRows(std::vector<WeightedRows> parts) : parts_(std::move(parts)) {}
  int64_t size() const override {
    int64_t size = 0;
    for (const auto& part : parts_) size += part.rows->size();
    return size;
  }
  Row at(int64_t index) override {
    size_t part = 0;
    while (index >= parts_.at(part).rows->size()) index -= parts_[part++].rows->size();
    return parts_[part].rows->at(index);
  }
  int64_t num_left_out() const override {
    int64_t count = 0;
    for (const auto& part : parts_) count += part.rows->num_left_out();
    return count;
  }

 private:
  const std::vector<WeightedRows> parts_;
};

// The rows that a caller gets: at least one, those of a training part as `choice` wants them.
std::unique_ptr<Rows> checked(std::unique_ptr<Rows> rows, const DataOptions& options, Split split) {
  const bool own_file = split == Split::Test && !options.test_path.empty();
  const auto& file = own_file ? options.test_path : options.path;
  require<DataError>(rows->size() > 0, file.string(), file.empty() ? "" : ": ", options.use,
                     " finds no row for ", split == Split::Train ? "training" : "the held-out set");
  if (split == Split::Test || !(options.choice.filters() || options.choice.orders())) return rows;
  return internal::choose_rows(std::move(rows), options);
}

std::vector<Row> all_of(Rows& rows) {
  std::vector<Row> all;
  for_each_row(rows, [&](Row row) { all.push_back(std::move(row)); });
  return all;
}

}  // namespace

std::string Row::where() const { return file + ":" + std::to_string(line); }

std::string Row::text() const {
  std::string text = prompt + completion;
  if (!text.empty()) return text;
  for (const Json& message : messages) {
    const auto content = message.find("content");
    if (content != message.end() && content->is_string()) text += content->get<std::string>() + "\n";
  }
  return text;
}

std::string Row::asked() const { return prompt.empty() && !messages.is_null() ? messages.dump() : prompt; }

const std::vector<std::string>& dataset_readers() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const auto& reader : kReaders) out.emplace_back(reader.name);
    return out;
  }();
  return names;
}

bool reads_a_file(const std::string& use) { return find_reader(use).reads_a_file; }

std::unique_ptr<Rows> open_prompts(const DataOptions& options, Split split) {
  require<UsageError>(options.mixture.empty() || split == Split::Test,
                      "data.mixture is for supervised training");
  return checked(find_reader(options.use).prompts(options, split), options, split);
}

std::unique_ptr<Rows> open_examples(const DataOptions& options, Split split) {
  if (split == Split::Train && !options.mixture.empty()) {
    return std::make_unique<JoinedRows>(open_mixture(options));
  }
  return checked(find_reader(options.use).examples(options, split), options, split);
}

std::vector<WeightedRows> open_mixture(const DataOptions& options) {
  const auto& mixture = options.mixture;
  DataOptions one = options;
  one.mixture.clear();
  std::vector<WeightedRows> parts;
  for (const auto& [path, weight] : mixture) {
    require<UsageError>(weight > 0.0 && std::isfinite(weight), "data.mixture: ", path.string(),
                        " has the weight ", weight, "; it should be above 0");
    one.path = path;
    parts.push_back({.rows = open_examples(one, Split::Train), .weight = weight});
  }
  if (parts.empty()) parts.push_back({.rows = open_examples(one, Split::Train)});
  for (auto& part : parts) part.in_order = options.choice.orders();
  return parts;
}

void for_each_row(Rows& rows, const std::function<void(Row row)>& visit) {
  for (int64_t i = 0; i < rows.size(); ++i) visit(rows.at(i));
}

std::vector<Row> read_prompts(const DataOptions& options, Split split) {
  return all_of(*open_prompts(options, split));
}

std::vector<Row> read_examples(const DataOptions& options, Split split) {
  return all_of(*open_examples(options, split));
}

Leak find_leaks(const DataOptions& options) {
  const auto test = read_prompts(options, Split::Test);
  auto train = read_prompts(options, Split::Train);

  std::set<std::string> held_out;
  for (const auto& row : test) held_out.insert(row.asked());

  Leak leak{.train_rows = static_cast<int64_t>(train.size()),
            .test_rows = static_cast<int64_t>(test.size()),
            .leaked = {}};
  for (auto& row : train) {
    if (held_out.contains(row.asked())) leak.leaked.push_back(std::move(row));
  }
  return leak;
}

}  // namespace sluice::text
