#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "tests/base/temp_folder.h"
#include "text/dataset.h"

namespace sluice::text {
namespace {

using testing::HasSubstr;

DataOptions tasks(int64_t generated, uint64_t seed = 1) {
  return {.use = "countdown", .generated = generated, .seed = seed};
}

using Task = std::pair<std::vector<int64_t>, int64_t>;
Task task_of(const Row& row) {
  auto numbers = row.columns["numbers"].get<std::vector<int64_t>>();
  std::ranges::sort(numbers);
  return {numbers, row.columns["target"].get<int64_t>()};
}

// Whether the steps of a trace are true, begin with numbers of the task, and end with its target.
void expect_true_steps(const Row& row) {
  std::multiset<int64_t> left;
  for (const auto& number : row.columns["numbers"]) left.insert(number.get<int64_t>());
  const std::string steps = row.completion.substr(0, row.completion.find('\n'));
  for (size_t from = 0; from < steps.size();) {
    const size_t end = std::min(steps.find(',', from), steps.size());
    int a = 0, b = 0, value = 0;
    char op = 0;
    ASSERT_EQ(std::sscanf(steps.substr(from, end - from).c_str(), "%d%c%d=%d", &a, &op, &b, &value), 4)
        << steps;
    for (const int64_t operand : {a, b}) {
      const auto found = left.find(operand);
      ASSERT_NE(found, left.end()) << row.prompt << steps;
      left.erase(found);
    }
    const int expected = op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b;
    EXPECT_EQ(value, expected) << steps;
    EXPECT_TRUE(op != '/' || a % b == 0) << steps;
    EXPECT_TRUE(value >= 1 && value <= 99) << steps;
    left.insert(value);
    from = end + 1;
  }
  EXPECT_EQ(left, (std::multiset<int64_t>{row.columns["target"].get<int64_t>()})) << row.prompt << steps;
}

TEST(CountdownTasks, AskAndAnswerInFewWords) {
  const auto rows = read_examples(tasks(200), Split::Train);
  ASSERT_EQ(rows.size(), 200u);
  EXPECT_EQ(rows[4].where(), "countdown:5");
  for (const auto& row : rows) {
    std::string prompt;
    for (const auto& number : row.columns["numbers"]) prompt += number.dump() + " ";
    EXPECT_EQ(row.prompt, prompt + "= " + row.columns["target"].dump() + "\n");
    EXPECT_EQ(row.columns["numbers"].size(), 3u);
    for (const auto& number : row.columns["numbers"]) EXPECT_LE(number.get<int64_t>(), 10);
    EXPECT_THAT(row.completion,
                testing::EndsWith("\n<answer>" + row.columns["gold_expr"].get<std::string>() + "</answer>"));
    expect_true_steps(row);
  }
}

TEST(CountdownTasks, AreTheSameForTheSameSeedAndKeepAPrefix) {
  const auto prompts = [](const DataOptions& options) {
    std::vector<std::string> out;
    for (const auto& row : read_prompts(options, Split::Train)) out.push_back(row.prompt + row.completion);
    return out;
  };
  const auto first = prompts(tasks(40));
  EXPECT_EQ(prompts(tasks(40)), first);
  const auto fewer = prompts(tasks(15));
  EXPECT_TRUE(std::ranges::equal(fewer, std::span(first).first(15)));
  EXPECT_NE(prompts(tasks(40, /*seed=*/2)), first);
}

// By numbers in whatever order and target, which is stricter than by prompt.
TEST(CountdownTasks, AreHeldOutFromTrainingWhateverTheSeed) {
  std::set<Task> held_out;
  const auto test = read_prompts(tasks(1), Split::Test);
  for (const auto& row : test) EXPECT_TRUE(held_out.insert(task_of(row)).second) << row.prompt;
  EXPECT_GT(held_out.size(), 200u);
  EXPECT_LE(held_out.size(), 500u);
  for (const uint64_t seed : {0, 1, 2}) {
    for (const auto& row : read_prompts(tasks(2000, seed), Split::Train)) {
      EXPECT_FALSE(held_out.contains(task_of(row))) << row.prompt;
    }
    EXPECT_EQ(read_prompts(tasks(1, seed), Split::Test).front().prompt, test.front().prompt);
  }
  EXPECT_TRUE(find_leaks(tasks(500)).leaked.empty());
}

TEST(CountdownTasks, NeedToKnowHowMany) {
  EXPECT_THAT(message_of<UsageError>([] { read_prompts(tasks(0), Split::Train); }),
              HasSubstr("data.generated"));
}

}  // namespace
}  // namespace sluice::text
