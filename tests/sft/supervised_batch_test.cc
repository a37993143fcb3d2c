#include "sft/supervised_batch.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/spec_example.h"

namespace sluice::sft {
namespace {

using Ints = std::vector<int64_t>;

Ints ints(const at::Tensor& tensor) {
  const auto* begin = tensor.const_data_ptr<int64_t>();
  return {begin, begin + tensor.numel()};
}

// Rows and tokens of the labels that are not ignored, a label standing at the row that predicts it.
void expect_targets(const model::TokenTargets& targets, const Json& shifted_labels) {
  Ints rows, tokens;
  for (size_t i = 0; i < shifted_labels.size(); ++i) {
    if (shifted_labels[i] == -100) continue;
    rows.push_back(static_cast<int64_t>(i));
    tokens.push_back(shifted_labels[i].get<int64_t>());
  }
  EXPECT_EQ(ints(targets.rows), rows);
  EXPECT_EQ(ints(targets.tokens), tokens);
}

TEST(SupervisedBatch, AsksForTheAssistantsTokensAsTheSpecificationDoes) {
  const Json& example = spec_example("sft_assistant_mask");
  const std::vector<Example> examples = {
      {.tokens = example["inputs"]["input_ids"].get<std::vector<int32_t>>(),
       .weights = example["inputs"]["assistant_mask"].get<std::vector<float>>()}};
  const auto batches = pack_examples(examples, 100, at::kCPU);
  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(num_targets(examples[0]), example["expected"]["num_targets"].get<int64_t>());
  expect_targets(batches[0].targets, example["expected"]["shift_targets"]);
}

// The documents of the specification in the order a pack takes them: longest first. Each loses its last row.
TEST(SupervisedBatch, StartsEveryDocumentAnewAndNeverPredictsItsFirstToken) {
  const Json& example = spec_example("packing");
  const auto tokens = example["inputs"]["input_ids"].get<std::vector<int32_t>>();
  std::vector<Example> examples;
  size_t start = 0;
  for (const auto length : example["inputs"]["sequence_lengths"].get<std::vector<size_t>>()) {
    Example document{.tokens = {tokens.begin() + static_cast<std::ptrdiff_t>(start),
                                tokens.begin() + static_cast<std::ptrdiff_t>(start + length)},
                     .weights = {}};
    for (size_t i = 0; i < length; ++i) {
      document.weights.push_back(example["expected"]["labels"][start + i] == -100 ? 0.0f : 1.0f);
    }
    examples.push_back(document);
    start += length;
  }

  const auto batches = pack_examples(examples, 100, at::kCPU);

  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(ints(batches[0].batch.tokens), (Ints{8, 9, 4, 5, 6, 7}));
  EXPECT_EQ(ints(batches[0].batch.positions), (Ints{0, 1, 2, 0, 1, 0}));
  EXPECT_EQ(batches[0].batch.starts, (Ints{0, 3, 5, 6}));
  EXPECT_EQ(ints(batches[0].targets.rows), (Ints{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(ints(batches[0].targets.tokens), (Ints{9, 4, 2, 6, 2, 2}));
}

TEST(SupervisedBatch, CarriesTheWeightOfEachTarget) {
  const std::vector<Example> examples = {{.tokens = {1, 2, 3}, .weights = {0, 0.5f, 1}},
                                         {.tokens = {4, 5, 6, 7}, .weights = {0, 0, 2, 0}}};

  const auto batches = pack_examples(examples, 100, at::kCPU);

  ASSERT_EQ(batches.size(), 1u);  // of 2 input rows each
  EXPECT_EQ(ints(batches[0].targets.tokens), (Ints{2, 3, 6}));
  EXPECT_TRUE(at::equal(batches[0].weights, at::tensor({0.5f, 1.0f, 2.0f})));
  EXPECT_EQ(total_weight(examples[0]) + total_weight(examples[1]), 3.5);
  EXPECT_EQ(num_targets(examples[1]), 1);
}

TEST(SupervisedBatch, RefusesExamplesThatCannotBeLearnedFrom) {
  const std::vector<Example> bad = {{.tokens = {1, 2}, .weights = {0, 0}},    // without a target
                                    {.tokens = {1, 2}, .weights = {1, 1}},    // nothing predicts the first
                                    {.tokens = {1, 2}, .weights = {1}},       // a weight too few
                                    {.tokens = {1, 2}, .weights = {0, -1}}};  // learned backwards
  for (const auto& example : bad) {
    EXPECT_THROW(pack_examples(std::span(&example, 1), 10, at::kCPU), Error);
  }
}

}  // namespace
}  // namespace sluice::sft
