#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"
#include "base/files.h"
#include "tests/base/temp_folder.h"
#include "text/dataset.h"

namespace sluice::text {
namespace {

using testing::HasSubstr;

DataOptions text_options(const std::filesystem::path& file) {
  return {.use = "text", .path = file, .train_fraction = 0.5, .prompt_chars = 2, .window_chars = 3};
}

TEST(Text, CutsPromptsOfOneLengthFromItsSplit) {
  const TempFolder folder;
  const auto options = text_options(folder.write("a.txt", "abcdeFGHIJ"));

  const auto train = read_prompts(options, Split::Train);
  const auto test = read_prompts(options, Split::Test);

  ASSERT_EQ(train.size(), 2u);  // "e" is too short to be a third
  EXPECT_EQ(train[0].prompt, "ab");
  EXPECT_EQ(train[1].prompt, "cd");
  EXPECT_EQ(train[1].columns["text"], "cd");
  EXPECT_EQ(train[1].line, 2);
  ASSERT_EQ(test.size(), 2u);
  EXPECT_EQ(test[0].prompt, "FG");
}

TEST(Text, GivesExamplesWithoutPromptAndLosesNoCharacter) {
  const TempFolder folder;
  const auto options = text_options(folder.write("a.txt", "abcdeFGHIJ"));

  const auto rows = read_examples(options, Split::Train);

  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].prompt, "");
  EXPECT_EQ(rows[0].completion, "abc");
  EXPECT_EQ(rows[1].completion, "de");
}

TEST(Text, CountsCharactersNotBytes) {
  const TempFolder folder;
  const auto options = text_options(folder.write("a.txt", "\u00e9\u4e2d\U0001F600xyzw\u00e9"));

  const auto rows = read_prompts(options, Split::Train);

  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].prompt, "\u00e9\u4e2d");
  EXPECT_EQ(rows[1].prompt, "\U0001F600x");
}

TEST(Text, SplitsShakespeareWithoutLoss) {
  const std::string file = SLUICE_SOURCE_DIR "/data/text/tinyshakespeare.txt";
  const DataOptions options{.use = "text", .path = file};

  const auto train = read_examples(options, Split::Train);
  const auto test = read_examples(options, Split::Test);

  // 1,115,394 characters: 1,003,854 for training make 3,922 windows of 256 (the last of 78), 111,540 make
  // 436.
  EXPECT_EQ(train.size(), 3922u);
  EXPECT_EQ(test.size(), 436u);
  std::string joined;
  for (const auto& row : train) joined += row.completion;
  for (const auto& row : test) joined += row.completion;
  EXPECT_TRUE(joined == read_file(file));
}

TEST(Text, RefusesBytesThatAreNoText) {
  const TempFolder folder;
  const auto complaint = [&](std::string_view bytes) {
    const auto options = text_options(folder.write("a.txt", bytes));
    return message_of<DataError>([&] { read_examples(options, Split::Train); });
  };

  EXPECT_THAT(complaint("ab\xff"), HasSubstr("byte 2"));
  EXPECT_THAT(complaint("a\xc3"), HasSubstr("byte 1"));             // cut short
  EXPECT_THAT(complaint("\xc0\xaf"), HasSubstr("byte 0"));          // overlong
  EXPECT_THAT(complaint("\xed\xa0\x80"), HasSubstr("byte 0"));      // surrogate
  EXPECT_THAT(complaint("\xf4\x90\x80\x80"), HasSubstr("byte 0"));  // past U+10FFFF
  EXPECT_THAT(complaint(""), HasSubstr("no row"));
}

TEST(Text, RefusesASplitTooShortForAPrompt) {
  const TempFolder folder;
  auto options = text_options(folder.write("a.txt", "abcdefgh"));
  options.prompt_chars = 5;

  EXPECT_THAT(message_of<DataError>([&] { read_prompts(options, Split::Test); }),
              HasSubstr("4 of 8 characters"));
}

TEST(Text, RefusesOptionsThatMakeNoSense) {
  const TempFolder folder;
  const auto good = text_options(folder.write("a.txt", "abcdefgh"));

  auto bad = good;
  bad.prompt_chars = 0;
  EXPECT_THROW(read_prompts(bad, Split::Train), UsageError);
  bad = good;
  bad.train_fraction = 1.5;
  EXPECT_THROW(read_prompts(bad, Split::Train), UsageError);
  bad.train_fraction = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(read_prompts(bad, Split::Train), UsageError);
}

}  // namespace
}  // namespace sluice::text
