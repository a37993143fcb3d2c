#include "base/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

std::vector<std::pair<int64_t, Json>> read(const std::filesystem::path& file) {
  std::vector<std::pair<int64_t, Json>> rows;
  for_each_json_line(file, [&](int64_t line, Json row) { rows.emplace_back(line, std::move(row)); });
  return rows;
}

TEST(JsonLines, CountsEveryLineAndSkipsBlankOnes) {
  const TempFolder folder;
  std::ofstream(folder / "a.jsonl") << "{\"a\": 1}\r\n\n \t\n{\"b\": 2}";  // the last line has no end
  const auto rows = read(folder / "a.jsonl");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0], std::pair(int64_t{1}, Json({{"a", 1}})));
  EXPECT_EQ(rows[1], std::pair(int64_t{4}, Json({{"b", 2}})));
}

TEST(JsonLines, NamesTheLineThatIsNoObject) {
  const TempFolder folder;
  std::ofstream(folder / "a.jsonl") << "{}\n[1]\n";
  EXPECT_THAT([&] { read(folder / "a.jsonl"); },
              ThrowsMessage<DataError>(HasSubstr("a.jsonl:2: expected a JSON object, saw array")));
  std::ofstream(folder / "b.jsonl") << "{}\n\n{\"a\": }\n";
  EXPECT_THAT([&] { read(folder / "b.jsonl"); }, ThrowsMessage<DataError>(HasSubstr("b.jsonl:3: ")));
}

TEST(JsonLines, NamesAFileThatCannotBeRead) {
  const TempFolder folder;
  EXPECT_THAT([&] { read(folder / "gone"); },
              ThrowsMessage<DataError>(HasSubstr("gone: cannot be opened: No such file")));
  EXPECT_THAT([&] { read(folder.path()); }, ThrowsMessage<DataError>(HasSubstr("is a folder")));
}

TEST(JsonLines, OfAFileBeingWrittenTheLastLineWaitsForItsEnd) {
  const TempFolder folder;
  const auto file = folder / "lines";
  std::vector<int64_t> seen;
  const auto read = [&] {
    seen.clear();
    for_each_whole_json_line(
        file, [&](int64_t line, const Json& row) { seen.push_back(10 * line + row["a"].get<int64_t>()); });
  };
  read();
  EXPECT_EQ(seen, std::vector<int64_t>{});  // it is not there yet
  write_plain(file, "{\"a\": 1}\n{\"a\": 2}");
  read();
  EXPECT_EQ(seen, std::vector<int64_t>{11});
  write_plain(file, "{\"a\": 1}\n{\"a\": 2}\n");
  read();
  EXPECT_EQ(seen, (std::vector<int64_t>{11, 22}));
}

}  // namespace
}  // namespace sluice
