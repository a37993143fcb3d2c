// GSM8K's answers carry calculator notes, "48/2 = <<48/2=24>>24": sums with a known answer.
//
// A row is a note of one operator (+ - * /) between whole numbers, operands and answer of at most four
// digits, the answer not negative, divisions exact: prompt "48/2=", completion "24". In training, notes stand
// as often as they occur, because that is how the file weighs them; the held-out set has one row per
// expression, where it occurs first, so that an accuracy counts every sum once.
//
// An expression counts as seen at test time when any note of the test file has it left of "=", also a note
// that is no row itself ("<<18*5=90.00>>").
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/json_lines.h"
#include "base/philox.h"
#include "text/internal/columns.h"
#include "text/internal/readers.h"
#include "text/tool_calls.h"

namespace sluice::text::internal {
namespace {

constexpr size_t kMaxDigits = 4;
constexpr int64_t kMaxAnswer = 9999;
constexpr int64_t kMaxGenerated = 10'000'000;
// Of sums drawn from GSM8K's notes 44 in 100 are valid and new; far fewer means operands that do not fit.
constexpr int64_t kMaxDrawsPerSum = 1000;
constexpr uint64_t kCallsDraw = 1;  // of a row

struct Note {
  std::string left;
  char op = 0;
  std::string right;
  std::string answer;
  int64_t line = 0;  // of the file

  std::string expression() const { return left + op + right; }
};

// A whole number in its one spelling: one to four digits, no leading zero.
std::optional<int64_t> parse_number(std::string_view text) {
  if (text.empty() || text.size() > kMaxDigits || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  int64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ptr != text.data() + text.size() || text[0] == '-') return std::nullopt;
  return value;
}

// The answer of a sum, or nothing when it is negative, not whole or too long.
std::optional<int64_t> solve(int64_t left, char op, int64_t right) {
  int64_t answer = -1;
  if (op == '+') answer = left + right;
  if (op == '-') answer = left - right;
  if (op == '*') answer = left * right;
  if (op == '/' && right != 0 && left % right == 0) answer = left / right;
  if (answer < 0 || answer > kMaxAnswer) return std::nullopt;
  return answer;
}

// `note` is what stands between << and >>, blanks removed. A note whose answer is wrong is none.
std::optional<Note> parse_note(const std::string& note, int64_t line) {
  const size_t op = note.find_first_of("+-*/");
  const size_t equals = note.find('=');
  if (equals == std::string::npos || op == std::string::npos || op > equals) return std::nullopt;
  Note out{note.substr(0, op), note[op], note.substr(op + 1, equals - op - 1), note.substr(equals + 1), line};
  const auto left = parse_number(out.left);
  const auto right = parse_number(out.right);
  if (!left || !right || !parse_number(out.answer)) return std::nullopt;
  if (parse_number(out.answer) != solve(*left, out.op, *right)) return std::nullopt;
  return out;
}

struct Notes {
  std::vector<Note> valid;            // in file order
  std::set<std::string> expressions;  // of every note, valid or not
};

void add_notes(const std::string& answer, int64_t line, Notes& out) {
  for (size_t open = answer.find("<<"); open != std::string::npos; open = answer.find("<<", open + 2)) {
    const size_t close = answer.find(">>", open);
    if (close == std::string::npos) return;
    std::string text = answer.substr(open + 2, close - open - 2);
    std::erase(text, ' ');
    out.expressions.insert(text.substr(0, text.find('=')));
    if (auto note = parse_note(text, line)) out.valid.push_back(*std::move(note));
  }
}

Notes read_notes(const std::filesystem::path& file) {
  Notes out;
  for_each_json_line(file, [&](int64_t line, const Json& row) {
    const std::string where = file.string() + ":" + std::to_string(line);
    add_notes(column_text(row, "answer", where, /*option=*/""), line, out);
  });
  return out;
}

Row to_row(const Note& note, const std::string& file, bool seen) {
  Row row;
  row.prompt = note.expression() + "=";
  row.completion = note.answer;
  row.columns["answer"] = note.answer;
  row.columns["expression"] = note.expression();
  row.columns["seen"] = seen;
  row.file = file;
  row.line = note.line;
  return row;
}

// In place of the bare answers: a share of the rows, drawn by their number, asks the calculator for it.
void answer_in_words(const DataOptions& options, std::vector<Row>& rows) {
  if (options.calls == 0) return;
  for (size_t i = 0; i < rows.size(); ++i) {
    auto& row = rows[i];
    const bool calls = random_uniform(options.seed, RandomUse::Data, i, kCallsDraw, 0) < options.calls;
    const auto worked = calls ? written_call("calculator", row.columns.at("expression")) +
                                    observation_form(nullptr).around(row.completion)
                              : "";
    row.completion = worked + "A: " + row.completion;
  }
}

// Sums whose operands and operator are drawn, each for itself, from the notes of the training file: the small
// and round numbers people do sums with stay as frequent as they are. Divisions seldom come out even, so they
// are 5 % of these sums and 17 % of the notes. None is an expression of the test file.
void append_generated(const DataOptions& options, const std::vector<Note>& notes,
                      const std::set<std::string>& held_out, std::vector<Row>& rows) {
  if (options.generated == 0) return;
  require<DataError>(!notes.empty(), options.path.string(), ": no note to take operands from");
  const int64_t max_draws = kMaxDrawsPerSum * options.generated;
  int64_t made = 0;
  for (int64_t draw = 0; made < options.generated; ++draw) {
    require<DataError>(draw < max_draws, options.path.string(), ": of ", max_draws,
                       " sums drawn from its notes ", made, " are valid and new, data.generated asks for ",
                       options.generated);
    const auto pick = [&](uint64_t part) -> const Note& {
      return notes[random_bits(options.seed, RandomUse::Data, static_cast<uint64_t>(draw), part) %
                   notes.size()];
    };
    Note sum{pick(0).left, pick(1).op, pick(2).right, "", made + 1};
    const auto answer = solve(*parse_number(sum.left), sum.op, *parse_number(sum.right));
    if (!answer || held_out.contains(sum.expression())) continue;
    sum.answer = std::to_string(*answer);
    rows.push_back(to_row(sum, "generated", /*seen=*/false));
    ++made;
  }
}

std::vector<Row> train_rows(const DataOptions& options, const Notes& train, const Notes& test) {
  std::vector<Row> rows;
  for (const auto& note : train.valid) {
    const bool seen = test.expressions.contains(note.expression());
    if (!seen || options.keep_seen) rows.push_back(to_row(note, options.path.string(), seen));
  }
  append_generated(options, train.valid, test.expressions, rows);
  return rows;
}

std::vector<Row> test_rows(const DataOptions& options, const Notes& train, const Notes& test) {
  std::set<std::string> trained_on;
  if (options.keep_seen) {
    for (const auto& note : train.valid) trained_on.insert(note.expression());
  }
  std::vector<Row> rows;
  std::set<std::string> listed;
  for (const auto& note : test.valid) {
    const std::string expression = note.expression();
    if (!listed.insert(expression).second) continue;
    rows.push_back(to_row(note, options.test_path.string(), trained_on.contains(expression)));
  }
  return rows;
}

}  // namespace

std::vector<Row> read_gsm8k_notes(const DataOptions& options, Split split) {
  require<UsageError>(!options.path.empty(), "data.path: gsm8k_notes needs the training file");
  require<UsageError>(!options.test_path.empty(),
                      "data.test_path: gsm8k_notes needs the test file, whose sums are kept out of training");
  require<UsageError>(options.generated >= 0 && options.generated <= kMaxGenerated,
                      "data.generated: from 0 to ", kMaxGenerated, ", saw ", options.generated);
  require<UsageError>(options.calls >= 0 && options.calls <= 1, "data.calls: a share, from 0 to 1, saw ",
                      options.calls);
  const Notes train = read_notes(options.path);
  const Notes test = read_notes(options.test_path);
  auto rows = split == Split::Train ? train_rows(options, train, test) : test_rows(options, train, test);
  answer_in_words(options, rows);
  return rows;
}

}  // namespace sluice::text::internal
