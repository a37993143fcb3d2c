#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "text/dataset.h"

namespace sluice::text {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

// Four prompts with the share of right answers to each.
struct RowChoices : testing::Test {
  std::vector<std::string> prompts(const RowChoice& choice, Split split = Split::Train) {
    std::vector<std::string> prompts;
    const DataOptions options{.path = file, .test_path = file, .seed = 5, .choice = choice};
    for (const auto& row : read_prompts(options, split)) prompts.push_back(row.prompt);
    return prompts;
  }

  const TempFolder folder;
  const std::filesystem::path file =
      folder.write("a.jsonl",
                   "{\"prompt\": \"easy\", \"completion\": \"1\", \"pass_rate\": 1}\n"
                   "{\"prompt\": \"hopeless\", \"completion\": \"2\", \"pass_rate\": 0.0}\n"
                   "{\"prompt\": \"hard\", \"completion\": \"3\", \"pass_rate\": 0.25}\n"
                   "{\"prompt\": \"f\u00fcnf\", \"completion\": \"4\", \"pass_rate\": 0.5}\n");
};

TEST_F(RowChoices, ByPassRateTakeBothEndsAndSayHowManyRowsTheyLeaveOut) {
  EXPECT_THAT(prompts({.min_pass_rate = 0.25, .max_pass_rate = 0.5}), ElementsAre("hard", "f\u00fcnf"));
  EXPECT_THAT(prompts({.max_pass_rate = 0.0}), ElementsAre("hopeless"));
  const DataOptions options{.path = file, .choice = {.min_pass_rate = 0.5}};
  const auto rows = open_examples(options, Split::Train);
  EXPECT_EQ(rows->size(), 2);
  EXPECT_EQ(rows->num_left_out(), 2);
}

TEST_F(RowChoices, ByLengthCountCharactersAndNotBytes) {
  EXPECT_THAT(prompts({.max_prompt_chars = 4}), ElementsAre("easy", "hard", "f\u00fcnf"));
}

TEST_F(RowChoices, LeaveTheHeldOutPartWhole) {
  EXPECT_EQ(prompts({.min_pass_rate = 0.9}, Split::Test).size(), 4u);
}

TEST_F(RowChoices, OrderFromSmallToLargeAndTheEqualBySeed) {
  EXPECT_THAT(prompts({.order_by = "pass_rate"}), ElementsAre("hopeless", "hard", "f\u00fcnf", "easy"));
  std::string lines;
  for (int i = 0; i < 40; ++i) {
    lines += Json{{"prompt", std::to_string(i)}, {"level", i % 2}}.dump() + "\n";
  }
  folder.write("a.jsonl", lines);
  const auto order = prompts({.order_by = "level"});
  std::vector<std::string> in_file_order;
  for (int i = 0; i < 40; i += 2) in_file_order.push_back(std::to_string(i));
  const std::vector<std::string> first(order.begin(), order.begin() + 20);
  EXPECT_THAT(first, testing::UnorderedElementsAreArray(in_file_order));
  EXPECT_NE(first, in_file_order);
  EXPECT_EQ(prompts({.order_by = "level"}), order);
}

TEST_F(RowChoices, SayWhichColumnIsMissingAndWhenNothingIsLeft) {
  const auto complaint = [&](const RowChoice& choice) {
    return message_of<DataError>([&] { prompts(choice); });
  };
  EXPECT_THAT(complaint({.min_pass_rate = 0.5, .pass_rate_column = "pas_rate"}),
              AllOf(HasSubstr("a.jsonl:1: no column \"pas_rate\", which"), HasSubstr("data.pass_rate_column"),
                    HasSubstr("did you mean \"pass_rate\"?")));
  EXPECT_THAT(complaint({.order_by = "prompt"}),
              HasSubstr("the column \"prompt\" should be a number, saw string"));
  EXPECT_THAT(complaint({.min_pass_rate = 0.3, .max_pass_rate = 0.4}),
              HasSubstr("none of its 4 rows is left"));
}

}  // namespace
}  // namespace sluice::text
