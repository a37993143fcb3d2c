#include "sft/example_stream.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "tests/sft/letter_tokenizer.h"

namespace sluice::sft {
namespace {

// Rows whose completions are these letters, a row each; nothing for a blank.
class LetterRows final : public text::Rows {
 public:
  explicit LetterRows(std::string letters) : letters_(std::move(letters)) {}
  int64_t size() const override { return std::ssize(letters_); }
  text::Row at(int64_t index) override {
    text::Row row;
    row.prompt = "a";
    const char letter = letters_[static_cast<size_t>(index)];
    if (letter != ' ') row.completion = letter;
    return row;
  }

 private:
  const std::string letters_;
};

ExampleStream stream_of(const std::vector<std::pair<std::string, double>>& datasets,
                        const text::Tokenizer& tokenizer, const TokenizeOptions& options = {}) {
  std::vector<text::WeightedRows> rows;
  for (const auto& [letters, weight] : datasets) {
    rows.push_back({.rows = std::make_unique<LetterRows>(letters), .weight = weight});
  }
  return ExampleStream(std::move(rows), tokenizer, /*chat=*/nullptr, options, /*seed=*/5);
}

std::vector<int32_t> learned(const std::vector<Example>& examples) {
  std::vector<int32_t> tokens;
  for (const auto& example : examples) tokens.push_back(example.tokens[1]);
  return tokens;
}

TEST(ExampleStream, SeesEveryExampleOnceAnEpoch) {
  const LetterTokenizer tokenizer;
  auto stream = stream_of({{"bcdefg", 1.0}}, tokenizer);
  for (int64_t epoch = 0; epoch < 2; ++epoch) {
    const auto tokens = learned(stream.take(epoch * 6, 6));
    EXPECT_EQ(std::set(tokens.begin(), tokens.end()), (std::set<int32_t>{4, 5, 6, 7, 8, 9}));
  }
}

TEST(ExampleStream, HasTheSameExamplesForARunThatIsResumed) {
  const LetterTokenizer tokenizer;
  auto whole = stream_of({{"bcdef", 1.0}, {"xyz", 2.0}}, tokenizer);
  auto resumed = stream_of({{"bcdef", 1.0}, {"xyz", 2.0}}, tokenizer);
  for (int64_t step = 0; step < 9; ++step) whole.take(step * 3, 3);
  EXPECT_EQ(learned(resumed.take(27, 6)), learned(whole.take(27, 6)));
}

TEST(ExampleStream, LeavesOutWhatHasNothingToLearn) {
  const LetterTokenizer tokenizer;
  auto stream = stream_of({{"b d ", 1.0}}, tokenizer, {.append_eos = false});
  const auto tokens = learned(stream.take(0, 4));
  EXPECT_EQ(std::set(tokens.begin(), tokens.end()), (std::set<int32_t>{4, 6}));
}

}  // namespace
}  // namespace sluice::sft
