#include "text/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/text/temporary_folder.h"

namespace sluice::text {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(Dataset, NamesItsReaders) {
  EXPECT_THAT(dataset_readers(), ElementsAre("jsonl", "text", "gsm8k_notes"));
}

TEST(Dataset, SuggestsTheNearestReader) {
  const auto message =
      message_of<UsageError>([] { read_prompts({.use = "json", .path = "a"}, Split::Train); });

  EXPECT_THAT(message, AllOf(HasSubstr("data.use"), HasSubstr("did you mean \"jsonl\"")));
}

TEST(Leaks, AreTrainingRowsAskedAgainInTheHeldOutSet) {
  const TemporaryFolder folder;
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
  const TemporaryFolder folder;
  const auto file = folder.write("train.jsonl", "{\"prompt\":\"a\"}\n");

  EXPECT_THAT(message_of<UsageError>([&] { find_leaks({.path = file}); }), HasSubstr("data.test_path"));
}

}  // namespace
}  // namespace sluice::text
