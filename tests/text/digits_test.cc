#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "text/dataset.h"

namespace sluice::text {
namespace {

const DataOptions kDigits{.use = "digits"};

Row row_of(const std::string& prompt) {
  for (const auto split : {Split::Train, Split::Test}) {
    for (auto& row : read_prompts(kDigits, split)) {
      if (row.prompt == prompt) return row;
    }
  }
  ADD_FAILURE() << "no prompt is " << prompt;
  return {};
}

TEST(Digits, GoOnWithTheSameDifferenceModuloTen) {
  EXPECT_EQ(row_of("2,5:9,4").completion, "8,1,4,7");
  EXPECT_EQ(row_of("5,2:9,3").completion, "9,6,3");  // two steps down from 2 is -4, which is 6
  EXPECT_EQ(row_of("7,7:9,2").completion, "7,7");
  EXPECT_EQ(row_of("0,9:9,1").completion, "8");
  EXPECT_EQ(row_of("8,1:9,12").completion, "4,7,0,3,6,9,2,5,8,1,4,7");
  EXPECT_EQ(row_of("2,5:9,4").columns, (Json{{"answer", "8,1,4,7"}}));
}

TEST(Digits, EachPromptIsOnOneSideOnce) {
  const auto train = read_prompts(kDigits, Split::Train);
  const auto test = read_prompts(kDigits, Split::Test);

  EXPECT_EQ(train.size(), 1100u);
  EXPECT_EQ(test.size(), 500u);
  std::set<std::string> prompts;
  for (const auto* rows : {&train, &test}) {
    for (const auto& row : *rows) prompts.insert(row.prompt);
  }
  EXPECT_EQ(prompts.size(), 1600u);
  EXPECT_TRUE(find_leaks(kDigits).leaked.empty());
  EXPECT_EQ(train[10].where(), "digits:11");
}

TEST(Digits, BothSidesHaveEveryLengthAndAreTheSameForEverySeed) {
  for (const auto split : {Split::Train, Split::Test}) {
    const auto rows = read_examples(kDigits, split);
    const auto others = read_examples({.use = "digits", .seed = 7}, split);
    std::set<int> lengths;
    for (size_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(rows[i].prompt, others[i].prompt);
      int first = 0, second = 0, modulus = 0, count = 0;
      ASSERT_EQ(std::sscanf(rows[i].prompt.c_str(), "%d,%d:%d,%d", &first, &second, &modulus, &count), 4);
      lengths.insert(count);
      EXPECT_EQ(rows[i].completion.size(), static_cast<size_t>(2 * count - 1)) << rows[i].prompt;
    }
    EXPECT_EQ(lengths.size(), 16u);
  }
}

}  // namespace
}  // namespace sluice::text
