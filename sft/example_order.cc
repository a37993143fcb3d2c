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
    : datasets_(std::move(datasets)), seed_(seed) {
  require(!datasets_.empty(), "ExampleOrder: no dataset");
  for (size_t i = 0; i < datasets_.size(); ++i) {
    const auto& [size, weight, in_order] = datasets_[i];
    require(size > 0 && weight > 0.0, "ExampleOrder: dataset ", i, " has ", size, " rows and the weight ",
            weight);
    total_weight_ += weight;
    // The first dataset is shuffled by the seed itself, so that it comes in the order it has alone.
    const uint64_t own_seed = i == 0 ? seed_ : random_bits(seed_, RandomUse::Data, i, kSeed << 32);
    progress_.push_back({.order = EpochOrder(size, own_seed, in_order)});
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

ExampleOrder::Place ExampleOrder::at(int64_t ordinal) {
  require(ordinal >= 0, "ExampleOrder: place ", ordinal);
  if (datasets_.size() == 1) return {.dataset = 0, .row = progress_[0].order.at(ordinal)};
  if (ordinal < next_) {
    for (auto& progress : progress_) progress.drawn = 0;
    next_ = 0;
  }
  for (; next_ < ordinal; ++next_) ++progress_[draw(next_)].drawn;
  const size_t dataset = draw(ordinal);
  return {.dataset = dataset, .row = progress_[dataset].order.at(progress_[dataset].drawn)};
}

}  // namespace sluice::sft
