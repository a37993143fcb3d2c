#include "text/dataset.h"

#include <array>
#include <set>
#include <string>

#include "base/error.h"
#include "base/terminal.h"
#include "text/internal/readers.h"

namespace sluice::text {
namespace {

struct Reader {
  const char* name;
  std::vector<Row> (*prompts)(const DataOptions&, Split);
  std::vector<Row> (*examples)(const DataOptions&, Split);
};

constexpr std::array kReaders = {
    Reader{"jsonl", internal::read_jsonl_prompts, internal::read_jsonl_examples},
    Reader{"text", internal::read_text_prompts, internal::read_text_examples},
    Reader{"gsm8k_notes", internal::read_gsm8k_notes, internal::read_gsm8k_notes},
};

const Reader& find_reader(const std::string& use) {
  for (const auto& reader : kReaders) {
    if (use == reader.name) return reader;
  }
  const std::string near = nearest(use, dataset_readers());
  std::string names;
  for (const auto& name : dataset_readers()) names += (names.empty() ? "" : ", ") + name;
  fail<UsageError>("data.use: no reader is called \"", use, "\"",
                   near.empty() ? "" : " (did you mean \"" + near + "\"?)", "; there are ", names);
}

void check_not_empty(const std::vector<Row>& rows, const DataOptions& options, Split split) {
  const bool own_file = split == Split::Test && !options.test_path.empty();
  require<DataError>(!rows.empty(), (own_file ? options.test_path : options.path).string(), ": ", options.use,
                     " finds no row for ", split == Split::Train ? "training" : "the held-out set");
}

}  // namespace

std::string Row::where() const { return file + ":" + std::to_string(line); }

const std::vector<std::string>& dataset_readers() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const auto& reader : kReaders) out.emplace_back(reader.name);
    return out;
  }();
  return names;
}

std::vector<Row> read_prompts(const DataOptions& options, Split split) {
  auto rows = find_reader(options.use).prompts(options, split);
  check_not_empty(rows, options, split);
  return rows;
}

std::vector<Row> read_examples(const DataOptions& options, Split split) {
  auto rows = find_reader(options.use).examples(options, split);
  check_not_empty(rows, options, split);
  return rows;
}

Leak find_leaks(const DataOptions& options) {
  const auto test = read_prompts(options, Split::Test);
  auto train = read_prompts(options, Split::Train);

  std::set<std::string> held_out;
  for (const auto& row : test) held_out.insert(row.prompt);

  Leak leak{.train_rows = static_cast<int64_t>(train.size()),
            .test_rows = static_cast<int64_t>(test.size()),
            .leaked = {}};
  for (auto& row : train) {
    if (held_out.contains(row.prompt)) leak.leaked.push_back(std::move(row));
  }
  return leak;
}

}  // namespace sluice::text
