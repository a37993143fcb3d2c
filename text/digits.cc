// Digit completion, a task without a file: small enough for a network of 0.8M parameters to learn on a CPU in
// minutes, and hard enough that supervised training leaves reinforcement learning something to do.
//
// A prompt "a,b:9,n" asks for the n numbers that go on from a and b with the same difference modulo 10:
// "2,5:9,4" is completed by "8,1,4,7". One rule makes every number; where to stop is what is hard to learn.
// There are 100 beginnings and kLongest lengths. Which prompts are held out is fixed, whatever the recipe's
// seed, so that figures of several seeds are about the same ones.
#include <string>
#include <vector>

#include "base/philox.h"
#include "text/internal/readers.h"

namespace sluice::text::internal {
namespace {

constexpr int64_t kModulus = 10;
constexpr int64_t kLongest = 16;
constexpr int64_t kPrompts = kModulus * kModulus * kLongest;
constexpr int64_t kHeldOut = 500;

std::string numbers_after(int64_t last, int64_t difference, int64_t count) {
  std::string numbers;
  for (int64_t i = 0; i < count; ++i) {
    last = (last + difference) % kModulus;
    numbers += (i > 0 ? "," : "") + std::to_string(last);
  }
  return numbers;
}

// Of all prompts, the one with this number.
Row make_row(int64_t number) {
  const int64_t first = number / kLongest / kModulus;
  const int64_t second = number / kLongest % kModulus;
  const int64_t count = number % kLongest + 1;
  Row row;
  row.prompt = std::to_string(first) + "," + std::to_string(second) + ":" + std::to_string(kModulus - 1) +
               "," + std::to_string(count);
  row.completion = numbers_after(second, second - first + kModulus, count);
  row.columns["answer"] = row.completion;
  row.file = "digits";
  return row;
}

}  // namespace

std::vector<Row> read_digits(const DataOptions&, Split split) {
  const auto order = shuffled_indices(kPrompts, /*seed=*/0, /*epoch=*/0);
  const int64_t begin = split == Split::Test ? 0 : kHeldOut;
  const int64_t end = split == Split::Test ? kHeldOut : kPrompts;
  std::vector<Row> rows;
  for (int64_t i = begin; i < end; ++i) {
    rows.push_back(make_row(order[static_cast<size_t>(i)]));
    rows.back().line = std::ssize(rows);
  }
  return rows;
}

}  // namespace sluice::text::internal
