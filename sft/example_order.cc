#include "sft/example_order.h"

#include <utility>

#include "base/error.h"
#include "base/philox.h"

namespace sluice::sft {
namespace {

// Samples of RandomUse::Data, beside those that dataset readers draw from.
constexpr uint64_t kChoice = 1;
constexpr uint64_t kSeed = 2;

}  // namespace

ExampleOrder::ExampleOrder(std::vector<Dataset> datasets, uint64_t seed)
    : datasets_(std::move(datasets)), seed_(seed), progress_(datasets_.size()) {
  require(!datasets_.empty(), "ExampleOrder: no dataset");
  for (size_t i = 0; i < datasets_.size(); ++i) {
    const auto& [size, weight] = datasets_[i];
    require(size > 0 && weight > 0.0, "ExampleOrder: dataset ", i, " has ", size, " rows and the weight ",
            weight);
    total_weight_ += weight;
  }
}

size_t ExampleOrder::draw(int64_t ordinal) const {
  if (datasets_.size() == 1) return 0;
  double left =
      total_weight_ * random_uniform(seed_, RandomUse::Data, static_cast<uint64_t>(ordinal), kChoice, 0);
  size_t dataset = 0;
  while (dataset + 1 < datasets_.size() && left >= datasets_[dataset].weight) {
    left -= datasets_[dataset++].weight;
  }
  return dataset;
}

// The first dataset is shuffled by the seed itself, so that it comes in the order it has alone.
int64_t ExampleOrder::row_of(size_t dataset, int64_t drawn) {
  auto& progress = progress_[dataset];
  const int64_t size = datasets_[dataset].size;
  if (const int64_t epoch = drawn / size; epoch != progress.epoch) {
    const uint64_t seed = dataset == 0 ? seed_ : random_bits(seed_, RandomUse::Data, dataset, kSeed << 32);
    progress.order = shuffled_indices(size, seed, static_cast<uint64_t>(epoch));
    progress.epoch = epoch;
  }
  return progress.order[static_cast<size_t>(drawn % size)];
}

ExampleOrder::Place ExampleOrder::at(int64_t ordinal) {
  require(ordinal >= 0, "ExampleOrder: place ", ordinal);
  if (datasets_.size() == 1) return {.dataset = 0, .row = row_of(0, ordinal)};
  if (ordinal < next_) {
    for (auto& progress : progress_) progress.drawn = 0;
    next_ = 0;
  }
  for (; next_ < ordinal; ++next_) ++progress_[draw(next_)].drawn;
  const size_t dataset = draw(ordinal);
  return {.dataset = dataset, .row = row_of(dataset, progress_[dataset].drawn)};
}

}  // namespace sluice::sft
