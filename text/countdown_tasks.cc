// Countdown tasks made from a seed: three numbers up to ten, and what an expression with each of them once
// makes.
//
// A task is drawn by combining the numbers, two at a time, until one is left: whole results of 1 to 99 only.
// What is asked is short, "3 7 5 = 16", and the worked trace says those steps, then the expression:
// "7*3=21,21-5=16" and "<answer>(7*3)-5</answer>" on a line each. A task in ten, by its numbers in whatever
// order and its target, is held out, whatever the seed.
#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/philox.h"
#include "text/internal/readers.h"

namespace sluice::text::internal {
namespace {

constexpr int64_t kNumbers = 3;
constexpr int64_t kLargestNumber = 10;
constexpr int64_t kMaxValue = 99;
constexpr size_t kHeldOutTasks = 500;
constexpr uint64_t kHeldOutSeed = 0;         // so that runs of several seeds are measured on the same tasks
constexpr uint64_t kDrawsPerTask = 100'000;  // about one in three is a task
constexpr uint64_t kRandomPerDraw = 16;      // as many random numbers as a draw can take

struct Task {
  std::vector<int64_t> numbers;
  int64_t target = 0;
  std::string steps, expression;
};

// The numbers of one draw, one after the other.
class Draw {
 public:
  Draw(uint64_t seed, uint64_t stream, uint64_t draw)
      : seed_(seed), stream_(stream), next_(draw * kRandomPerDraw) {}
  int64_t below(int64_t count) {
    return static_cast<int64_t>(random_bits(seed_, RandomUse::Data, stream_, next_++) %
                                static_cast<uint64_t>(count));
  }

 private:
  const uint64_t seed_, stream_;
  uint64_t next_;
};

std::optional<int64_t> combine(int64_t left, char op, int64_t right) {
  int64_t value = 0;
  if (op == '+') value = left + right;
  if (op == '-') value = left - right;
  if (op == '*') value = left * right;
  if (op == '/' && left % right == 0) value = left / right;
  if (value < 1 || value > kMaxValue) return std::nullopt;
  return value;
}

// What is left of the numbers: how it is written, and what it is.
struct Term {
  int64_t value = 0;
  std::string text;
  bool is_number = true;

  std::string operand() const { return is_number ? text : "(" + text + ")"; }
};

std::optional<Task> draw_task(Draw draw) {
  constexpr std::array kOperators = {'+', '-', '*', '/'};
  Task task;
  std::vector<Term> terms;
  for (int64_t i = 0; i < kNumbers; ++i) {
    task.numbers.push_back(1 + draw.below(kLargestNumber));
    terms.push_back({.value = task.numbers.back(), .text = std::to_string(task.numbers.back())});
  }
  while (terms.size() > 1) {
    const auto take = [&] {
      const auto place = terms.begin() + draw.below(std::ssize(terms));
      Term term = std::move(*place);
      terms.erase(place);
      return term;
    };
    const Term left = take(), right = take();
    const char op = kOperators[static_cast<size_t>(draw.below(std::ssize(kOperators)))];
    const auto value = combine(left.value, op, right.value);
    if (!value) return std::nullopt;
    task.steps += (task.steps.empty() ? "" : ",") + std::to_string(left.value) + op +
                  std::to_string(right.value) + "=" + std::to_string(*value);
    terms.push_back({.value = *value, .text = left.operand() + op + right.operand(), .is_number = false});
  }
  task.target = terms.front().value;
  task.expression = terms.front().text;
  return task;
}

// The same for the same numbers in another order.
uint64_t key_of(const Task& task) {
  auto numbers = task.numbers;
  std::ranges::sort(numbers);
  auto key = static_cast<uint64_t>(task.target);
  for (const int64_t number : numbers) key = key * (kMaxValue + 1) + static_cast<uint64_t>(number);
  return key;
}

bool is_held_out(const Task& task) {
  return random_bits(kHeldOutSeed, RandomUse::Shuffle, key_of(task), 0) % 10 == 0;
}

// The first draw of a stream that gives a task on the wanted side.
std::optional<Task> find_task(uint64_t seed, uint64_t stream, bool held_out) {
  for (uint64_t draw = 0; draw < kDrawsPerTask; ++draw) {
    auto task = draw_task(Draw(seed, stream, draw));
    if (task && is_held_out(*task) == held_out) return task;
  }
  return std::nullopt;
}

Row row_of(const Task& task, int64_t ordinal) {
  Row row;
  for (const int64_t number : task.numbers) row.prompt += std::to_string(number) + " ";
  row.prompt += "= " + std::to_string(task.target) + "\n";
  row.completion = task.steps + "\n<answer>" + task.expression + "</answer>";
  row.columns = {{"numbers", task.numbers}, {"target", task.target}, {"gold_expr", task.expression}};
  row.file = "countdown";
  row.line = ordinal;
  return row;
}

class TrainingTasks : public Rows {
 public:
  TrainingTasks(int64_t count, uint64_t seed) : count_(count), seed_(seed) {}
  int64_t size() const override { return count_; }
  Row at(int64_t index) override {
    const auto task = find_task(seed_, static_cast<uint64_t>(index), /*held_out=*/false);
    require(task.has_value(), "countdown: no task is found for row ", index + 1);
    return row_of(*task, index + 1);
  }

 private:
  const int64_t count_;
  const uint64_t seed_;
};

class HeldOutTasks : public Rows {
 public:
  // 500, or as many different ones as twenty times as many draws give.
  HeldOutTasks() {
    std::set<uint64_t> keys;
    for (uint64_t i = 0; i < 20 * kHeldOutTasks && tasks_.size() < kHeldOutTasks; ++i) {
      auto task = find_task(kHeldOutSeed, i, /*held_out=*/true);
      if (task && keys.insert(key_of(*task)).second) tasks_.push_back(*std::move(task));
    }
  }
  int64_t size() const override { return std::ssize(tasks_); }
  Row at(int64_t index) override { return row_of(tasks_.at(static_cast<size_t>(index)), index + 1); }

 private:
  std::vector<Task> tasks_;
};

}  // namespace

std::unique_ptr<Rows> open_countdown(const DataOptions& options, Split split) {
  if (split == Split::Test) return std::make_unique<HeldOutTasks>();
  require<UsageError>(options.generated > 0,
                      "data.generated: countdown makes its training tasks and needs to know how many");
  return std::make_unique<TrainingTasks>(options.generated, options.seed);
}

}  // namespace sluice::text::internal
