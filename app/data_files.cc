#include "app/data_files.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <unordered_set>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/terminal.h"
#include "base/terminal_text.h"
#include "text/jsonl_layout.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using text::RowKind;
using text::RowLayout;

constexpr size_t kShownChars = 300;
constexpr size_t kShownLeaks = 5;

struct Line {
  int64_t number = 0;
  std::string text;     // as it stands in the file
  Json row;             // an object
  std::string problem;  // why it is none
};

// Every line that is not blank.
void scan(const std::string& file, const std::function<void(Line& line)>& visit) {
  require<DataError>(!fs::is_directory(file), file, " is a folder, not a file of JSON lines");
  std::ifstream in(file, std::ios::binary);
  require<DataError>(in.is_open(), file, ": cannot be opened: ", std::strerror(errno));
  Line line;
  while (std::getline(in, line.text)) {
    ++line.number;
    if (line.text.find_first_not_of(" \t\r") == std::string::npos) continue;
    line.problem.clear();
    try {
      line.row = parse_json(line.text, "line");
      if (!line.row.is_object())
        line.problem = std::string("expected a JSON object, saw ") + line.row.type_name();
    } catch (const DataError& error) {
      line.problem = error.what();
    }
    visit(line);
  }
  require<DataError>(!in.bad(), file, ": cannot be read to its end: ", std::strerror(errno));
}

std::string where(const std::string& file, int64_t line) { return file + ":" + std::to_string(line); }

// Rows of one layout, that of the first; throws for what is none.
void scan_rows(const std::string& file,
               const std::function<void(const Line& line, const RowLayout& layout)>& visit) {
  std::optional<RowLayout> layout;
  scan(file, [&](Line& line) {
    require<DataError>(line.problem.empty(), where(file, line.number), ": ", line.problem,
                       "; `sluice data check ", file, "` names every such row");
    const auto own = text::layout_of(line.row);
    if (!layout) layout = own;
    require<DataError>(own.has_value(), where(file, line.number),
                       ": no column says what is asked; `sluice data check ", file, "` says which do");
    visit(line, *layout);
  });
}

uint64_t hash_of(const std::string& key, uint64_t seed = 0) {
  return std::stoull(sha256_hex(std::to_string(seed) + "\n" + key).substr(0, 16), nullptr, 16);
}

bool has_gsm8k_answer(const Line& line) { return line.text.find("#### ") != std::string::npos; }

struct CheckedFile {
  std::optional<RowLayout> layout;
  bool gsm8k_answers = false;  // "... #### 42"
  int64_t rows = 0, bad = 0, repeated = 0;
  std::map<std::string, int64_t> columns;
  std::vector<int64_t> lengths;  // of what is asked, in bytes
};

CheckedFile check_file(const std::string& file,
                       const std::function<void(int64_t line, const std::string& what)>& complain) {
  CheckedFile found;
  std::unordered_set<uint64_t> asked;
  scan(file, [&](Line& line) {
    ++found.rows;
    std::string problem = line.problem;
    if (problem.empty() && !found.layout) {
      found.layout = text::layout_of(line.row);
      if (!found.layout) problem = "no column says what is asked: prompt, messages, question, chosen or text";
    }
    if (problem.empty()) problem = text::row_problem(line.row, *found.layout);
    if (!problem.empty()) {
      ++found.bad;
      return complain(line.number, problem);
    }
    for (const auto& item : line.row.items()) ++found.columns[item.key()];
    const std::string key = text::asked_key(line.row, *found.layout);
    if (found.lengths.empty()) found.gsm8k_answers = has_gsm8k_answer(line);
    found.lengths.push_back(std::ssize(key));
    if (!asked.insert(hash_of(key)).second) ++found.repeated;
  });
  return found;
}

// The lines of a recipe that read such a file.
std::vector<std::string> recipe_lines(const std::string& file, const RowLayout& layout, bool gsm8k_answers) {
  std::string data = "data = { path = " + Json(file).dump();
  if (layout.kind == RowKind::Prompts && layout.prompt != "prompt" && layout.prompt != "messages")
    data += ", prompt_column = " + Json(layout.prompt).dump();
  std::vector<std::string> lines = {data + " }"};
  if (layout.kind == RowKind::Prompts && !layout.answer.empty()) {
    lines.push_back(std::string("rewards = [{ use = \"") + (gsm8k_answers ? "gsm8k" : "exact_answer") +
                    "\", column = " + Json(layout.answer).dump() + " }]  # others: sluice reward list");
  }
  const char* use = layout.kind == RowKind::Prompts  ? "grpo"
                    : layout.kind == RowKind::Pairs  ? "dpo"
                    : layout.kind == RowKind::Judged ? "kto"
                    : layout.kind == RowKind::Text   ? "pretrain"
                                                     : "sft";
  lines.push_back(std::string("stages = [{ use = \"") + use + "\", steps = 100 }]");
  return lines;
}

Json to_json(const std::string& file, const CheckedFile& found, const Json& problems) {
  return {{"file", file},
          {"rows", found.rows},
          {"bad", found.bad},
          {"repeated", found.repeated},
          {"layout", found.layout ? Json(text::layout_name(*found.layout)) : Json()},
          {"columns", found.columns},
          {"problems", problems}};
}

void print_check(const std::string& file, CheckedFile found) {
  std::cout << inert(file) << ": " << format_count(found.rows) << " rows, "
            << (found.layout ? text::layout_name(*found.layout) : "of no known layout") << '\n';
  if (!found.columns.empty()) {
    std::cout << "  columns     ";
    for (auto it = found.columns.begin(); it != found.columns.end(); ++it) {
      std::cout << (it == found.columns.begin() ? "" : ", ") << inert(it->first);
      if (it->second < found.rows - found.bad) std::cout << " (" << format_count(it->second) << " rows)";
    }
    std::cout << '\n';
  }
  if (!found.lengths.empty()) {
    std::ranges::sort(found.lengths);
    std::cout << "  asked       " << format_count(found.lengths.front()) << " to "
              << format_count(found.lengths.back()) << " bytes, half of them up to "
              << format_count(found.lengths[found.lengths.size() / 2]) << '\n';
  }
  if (found.repeated > 0) {
    std::cout << "  repeated    " << format_count(found.repeated)
              << " rows ask what an earlier one asks; sluice data dedup " << inert(file)
              << " --output NEW.jsonl\n";
  }
  if (found.bad > 0) std::cout << "  wrong       " << format_count(found.bad) << " rows\n";
  if (!found.layout || found.bad == found.rows) return;
  std::cout << "a recipe reads it with:\n";
  for (const auto& line : recipe_lines(file, *found.layout, found.gsm8k_answers))
    std::cout << "  " << line << '\n';
}

// A file that is not there yet and appears whole. What it is written to meanwhile has a name of this process
// alone, so that no file of anybody's is lost.
class NewFile {
 public:
  explicit NewFile(fs::path file)
      : file_(std::move(file)),
        temporary_(file_.string() + "." + std::to_string(::getpid()) + ".tmp"),
        out_(temporary_) {
    require<EnvironmentError>(out_.is_open(), file_.string(), ": cannot be written: ", std::strerror(errno));
  }
  ~NewFile() {
    std::error_code ignored;
    fs::remove(temporary_, ignored);
  }
  static void refuse_used(const fs::path& file) {
    require<UsageError>(!fs::exists(file), "data: ", file.string(),
                        " is there already; nothing is overwritten");
  }
  void add(const std::string& line) {
    out_ << line << '\n';
    ++rows_;
  }
  void finish() {
    out_.close();
    require<EnvironmentError>(out_.good(), file_.string(), ": cannot be written: ", std::strerror(errno));
    fs::rename(temporary_, file_);
    std::cout << file_.string() << ": " << format_count(rows_) << " rows\n";
  }

 private:
  const fs::path file_, temporary_;
  std::ofstream out_;
  int64_t rows_ = 0;
};

}  // namespace

bool is_rows_file(const std::string& name) {
  const auto extension = fs::path(name).extension();
  return extension == ".jsonl" || extension == ".ndjson";
}

int check_rows(const std::string& file, bool json) {
  Json problems = Json::array();
  const auto found = check_file(file, [&](int64_t line, const std::string& what) {
    if (json) {
      problems.push_back({{"line", line}, {"problem", what}});
    } else {
      std::cout << inert(where(file, line)) << ": " << inert(what) << '\n';
    }
  });
  require<DataError>(found.rows > 0, file, ": there is no row in it");
  if (json) {
    std::cout << to_json(file, found, problems).dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    print_check(file, found);
  }
  return static_cast<int>(found.bad > 0 ? ExitCode::Data : ExitCode::Done);
}

RowsFound read_rows(const std::string& file) {
  RowsFound found;
  scan_rows(file, [&](const Line& line, const RowLayout& layout) {
    if (++found.rows > 1) return;
    found.layout = layout;
    found.gsm8k_answers = has_gsm8k_answer(line);
  });
  require<DataError>(found.rows > 0, file, ": there is no row in it");
  return found;
}

int show_rows(const std::string& file, int64_t count) {
  int64_t shown = 0;
  scan_rows(file, [&](const Line& line, const RowLayout& layout) {
    if (++shown > count) return;
    std::cout << (shown == 1 ? inert(file) + ": " + text::layout_name(layout) + "\n" : "");
    std::cout << inert(where(file, line.number)) << '\n';
    for (const auto& item : line.row.items()) {
      std::string value = item.value().is_string()
                              ? item.value().get<std::string>()
                              : item.value().dump(-1, ' ', false, Json::error_handler_t::replace);
      if (value.size() > kShownChars) value = value.substr(0, kShownChars) + "...";
      std::ranges::replace(value, '\n', ' ');
      std::cout << "  " << inert(item.key()) << "  " << inert(value) << '\n';
    }
  });
  if (shown > count) std::cout << format_count(shown - count) << " more rows\n";
  return 0;
}

int dedup_rows(const std::string& file, const std::string& output) {
  NewFile::refuse_used(output);
  NewFile out(output);
  std::unordered_set<uint64_t> asked;
  int64_t left_out = 0;
  scan_rows(file, [&](const Line& line, const RowLayout& layout) {
    if (asked.insert(hash_of(text::asked_key(line.row, layout))).second) {
      out.add(line.text);
    } else {
      ++left_out;
    }
  });
  out.finish();
  std::cout << format_count(left_out) << " rows that asked what an earlier one asks are left out\n";
  return 0;
}

int split_rows(const std::string& file, double test_share, uint64_t seed, const std::string& folder) {
  const std::string stem = fs::path(file).stem();
  const fs::path into = folder.empty() ? fs::path(file).parent_path() : fs::path(folder);
  const fs::path train_file = into / (stem + "_train.jsonl"), test_file = into / (stem + "_test.jsonl");
  for (const auto& used : {train_file, test_file}) NewFile::refuse_used(used);
  if (!into.empty()) fs::create_directories(into);
  NewFile train(train_file), test(test_file);
  const auto limit = test_share < 1.0 ? static_cast<uint64_t>(test_share * 0x1p63) * 2
                                      : std::numeric_limits<uint64_t>::max();
  scan_rows(file, [&](const Line& line, const RowLayout& layout) {
    (hash_of(text::asked_key(line.row, layout), seed) < limit ? test : train).add(line.text);
  });
  train.finish();
  test.finish();
  return 0;
}

int leaked_rows(const std::string& train, const std::string& test, bool json) {
  std::unordered_set<uint64_t> held_out;
  int64_t test_rows = 0, train_rows = 0;
  scan_rows(test, [&](const Line& line, const RowLayout& layout) {
    ++test_rows;
    held_out.insert(hash_of(text::asked_key(line.row, layout)));
  });
  std::vector<int64_t> leaked;
  scan_rows(train, [&](const Line& line, const RowLayout& layout) {
    ++train_rows;
    if (held_out.contains(hash_of(text::asked_key(line.row, layout)))) leaked.push_back(line.number);
  });
  if (json) {
    std::cout << Json{{"train_rows", train_rows}, {"test_rows", test_rows}, {"leaked", leaked}}.dump(2)
              << '\n';
    return leaked.empty() ? 0 : 1;
  }
  std::cout << format_count(std::ssize(leaked)) << " of " << format_count(train_rows) << " rows of "
            << inert(train) << " ask what one of the " << format_count(test_rows) << " of " << inert(test)
            << " asks\n";
  for (size_t i = 0; i < std::min(kShownLeaks, leaked.size()); ++i)
    std::cout << "  " << inert(where(train, leaked[i])) << '\n';
  if (leaked.size() > kShownLeaks) std::cout << "  ...; --json has all of them\n";
  return leaked.empty() ? 0 : 1;
}

}  // namespace sluice::app
