#include "text/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"

namespace sluice::text {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Dataset, NamesItsReaders) {
  EXPECT_THAT(dataset_readers(), ElementsAre("jsonl", "text", "gsm8k_notes", "countdown", "digits"));
}

TEST(Dataset, SuggestsTheNearestReader) {
  const auto message =
      message_of<UsageError>([] { read_prompts({.use = "json", .path = "a"}, Split::Train); });

  EXPECT_THAT(message, AllOf(HasSubstr("data.use"), HasSubstr("did you mean \"jsonl\"")));
}

TEST(Mixture, IsReadFileByFileAndTogether) {
  const TempFolder folder;
  const DataOptions options{
      .path = folder.path() / "gone.jsonl",
      .mixture = {{.path = folder.write("a.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n"), .weight = 2},
                  {.path = folder.write("c.jsonl", "{\"text\": \"c\"}\n")}}};

  const auto parts = open_mixture(options);

  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0].rows->size(), 2);
  EXPECT_EQ(parts[0].weight, 2);
  EXPECT_EQ(parts[1].rows->at(0).completion, "c");
  EXPECT_EQ(parts[1].weight, 1);
  const auto all = read_examples(options, Split::Train);
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[1].completion, "b");
  EXPECT_EQ(all[2].where(), options.mixture[1].path.string() + ":1");
}

TEST(Mixture, IsOneFileWhereThereIsNone) {
  const TempFolder folder;
  const auto parts = open_mixture({.path = folder.write("a.jsonl", "{\"text\": \"a\"}\n")});
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].rows->at(0).completion, "a");
}

TEST(Mixture, RefusesWhatCannotBeDrawn) {
  const TempFolder folder;
  const auto file = folder.write("a.jsonl", "{\"text\": \"a\"}\n");
  EXPECT_THAT(message_of<UsageError>([&] {
                open_mixture({.mixture = {{file, 0.0}}});
              }),
              AllOf(HasSubstr("data.mixture"), HasSubstr("a.jsonl")));
  EXPECT_THROW(open_mixture({.mixture = {{file}, {folder.write("empty.jsonl", "")}}}), DataError);
  EXPECT_THROW(open_prompts({.mixture = {{file}}}, Split::Train), UsageError);
}

TEST(Leaks, AreTrainingRowsAskedAgainInTheHeldOutSet) {
  const TempFolder folder;
  const DataOptions options{
      .path = folder.write("train.jsonl", "{\"prompt\":\"a\"}\n{\"prompt\":\"b\"}\n{\"prompt\":\"a\"}\n"),
      .test_path = folder.write("test.jsonl", "{\"prompt\":\"c\"}\n{\"prompt\":\"a\"}\n")};

  const auto leak = find_leaks(options);

  EXPECT_EQ(leak.train_rows, 3);
  EXPECT_EQ(leak.test_rows, 2);
  ASSERT_EQ(leak.leaked.size(), 2u);
  EXPECT_EQ(leak.leaked[0].line, 1);
  EXPECT_EQ(leak.leaked[1].line, 3);
}

TEST(Leaks, NeedAHeldOutFile) {
  const TempFolder folder;
  const auto file = folder.write("train.jsonl", "{\"prompt\":\"a\"}\n");

  EXPECT_THAT(message_of<UsageError>([&] { find_leaks({.path = file}); }), HasSubstr("data.test_path"));
}

}  // namespace
}  // namespace sluice::text
