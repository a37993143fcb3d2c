#include "sft/example_stream.h"

#include <utility>

namespace sluice::sft {
namespace {

std::vector<ExampleOrder::Dataset> sizes_of(const std::vector<text::WeightedRows>& datasets) {
  std::vector<ExampleOrder::Dataset> sizes;
  for (const auto& [rows, weight, in_order] : datasets) {
    sizes.push_back({.size = rows->size(), .weight = weight, .in_order = in_order});
  }
  return sizes;
}

}  // namespace

ExampleStream::ExampleStream(std::vector<text::WeightedRows> datasets, const text::Tokenizer& tokenizer,
                             const text::ChatTemplate* chat, const TokenizeOptions& options, uint64_t seed)
    : datasets_(std::move(datasets)),
      tokenizer_(tokenizer),
      chat_(chat),
      options_(options),
      order_(sizes_of(datasets_), seed) {}

std::vector<Example> ExampleStream::take(int64_t first, int64_t count) {
  std::vector<Example> examples;
  for (int64_t ordinal = first; ordinal < first + count; ++ordinal) {
    const auto [dataset, row] = order_.at(ordinal);
    auto example = tokenize(datasets_[dataset].rows->at(row), tokenizer_, chat_, options_);
    if (num_targets(example) > 0) examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace sluice::sft
