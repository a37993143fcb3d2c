#include "sft/supervised_batch.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "model/operators.h"
#include "tests/spec_example.h"

namespace sluice::sft {
namespace {

using Ints = std::vector<int64_t>;

Ints ints(const at::Tensor& tensor) {
  const auto* begin = tensor.const_data_ptr<int64_t>();
  return {begin, begin + tensor.numel()};
}

std::vector<const Example*> pointers(const std::vector<Example>& examples) {
  std::vector<const Example*> out;
  for (const auto& example : examples) out.push_back(&example);
  return out;
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
       .loss_mask = example["inputs"]["assistant_mask"].get<std::vector<uint8_t>>()}};
  const auto batches = pack_examples(pointers(examples), 100, at::kCPU);
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
                     .loss_mask = {}};
    for (size_t i = 0; i < length; ++i) {
      document.loss_mask.push_back(example["expected"]["labels"][start + i] == -100 ? 0 : 1);
    }
    examples.push_back(document);
    start += length;
  }

  const auto batches = pack_examples(pointers(examples), 100, at::kCPU);

  ASSERT_EQ(batches.size(), 1u);
  EXPECT_EQ(ints(batches[0].batch.tokens), (Ints{8, 9, 4, 5, 6, 7}));
  EXPECT_EQ(ints(batches[0].batch.positions), (Ints{0, 1, 2, 0, 1, 0}));
  EXPECT_EQ(batches[0].batch.starts, (Ints{0, 3, 5, 6}));
  EXPECT_EQ(ints(batches[0].targets.rows), (Ints{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(ints(batches[0].targets.tokens), (Ints{9, 4, 2, 6, 2, 2}));
}

// With the identity as output matrix the hidden states are the logits.
TEST(SupervisedBatch, HasTheCrossEntropyOfTheSpecification) {
  const Json& example = spec_example("sft_cross_entropy");
  const auto logits = example["inputs"]["logits"].get<std::vector<std::vector<std::vector<double>>>>();
  const auto labels = example["inputs"]["labels"].get<std::vector<Ints>>();
  const auto expected =
      example["expected"]["grad_logits"].get<std::vector<std::vector<std::vector<double>>>>();
  std::vector<float> values;
  std::vector<double> grads;
  Ints rows, tokens;
  for (size_t s = 0; s < labels.size(); ++s) {
    for (size_t p = 0; p < labels[s].size(); ++p) {
      for (const double logit : logits[s][p]) values.push_back(static_cast<float>(logit));
      grads.insert(grads.end(), expected[s][p].begin(), expected[s][p].end());
      if (p + 1 == labels[s].size() || labels[s][p + 1] == -100) continue;
      rows.push_back(static_cast<int64_t>(s * labels[s].size() + p));
      tokens.push_back(labels[s][p + 1]);
    }
  }
  const auto hidden = at::tensor(values).view({-1, 5}).requires_grad_();
  const auto out = model::token_logprobs(hidden.index_select(0, at::tensor(rows, at::kLong)), at::eye(5),
                                         at::tensor(tokens, at::kLong), {});
  const auto loss = out.logprobs.sum() / -static_cast<double>(rows.size());
  loss.backward();

  EXPECT_EQ(static_cast<int64_t>(rows.size()), example["expected"]["num_targets"].get<int64_t>());
  EXPECT_NEAR(loss.item<double>(), example["expected"]["loss"].get<double>(), 1e-6);
  EXPECT_LE(
      (hidden.grad().view(-1).to(at::kDouble) - at::tensor(grads, at::kDouble)).abs().max().item<double>(),
      1e-6);
}

TEST(SupervisedBatch, RefusesExamplesThatCannotBeLearnedFrom) {
  const std::vector<Example> without_target = {{.tokens = {1, 2}, .loss_mask = {0, 0}}};
  const std::vector<Example> first_is_target = {{.tokens = {1, 2}, .loss_mask = {1, 1}}};
  const std::vector<Example> short_mask = {{.tokens = {1, 2}, .loss_mask = {1}}};
  for (const auto& examples : {without_target, first_is_target, short_mask}) {
    EXPECT_THROW(pack_examples(pointers(examples), 10, at::kCPU), Error);
  }
}

}  // namespace
}  // namespace sluice::sft
