// A file far longer than what is kept of it.
#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "base/epoch_order.h"
#include "base/resident_memory.h"
#include "tests/base/temp_folder.h"
#include "text/dataset.h"

namespace sluice::text {
namespace {

constexpr int64_t kLines = 1'000'000;
constexpr int64_t kRead = 2'000;

TEST(MillionLines, StreamInADeterministicShuffleWithinFortyBytesALine) {
  const TempFolder folder;
  const auto file = folder / "million.jsonl";
  {
    std::ofstream out(file);
    for (int64_t i = 0; i < kLines; ++i) {
      out << R"({"prompt": "What is )" << i << R"( and one?", "completion": ")" << i + 1 << R"("})" << '\n';
    }
  }
  const int64_t before = resident_bytes();
  const auto rows = open_examples({.path = file}, Split::Train);
  EpochOrder order(rows->size(), /*seed=*/3);
  ASSERT_EQ(rows->size(), kLines);
  for (int64_t i = 0; i < kRead; ++i) {
    const int64_t line = order.at(i);
    EXPECT_EQ(rows->at(line).completion, std::to_string(line + 1));
  }
  const int64_t growth = resident_bytes() - before;
  RecordProperty("bytes_a_line", static_cast<int>(growth / kLines));
  EXPECT_LT(growth, 40 * kLines);  // 8 for where it begins, 8 for the order, and what growing took
  EXPECT_EQ(EpochOrder(kLines, /*seed=*/3).at(kRead), order.at(kRead));
}

}  // namespace
}  // namespace sluice::text
