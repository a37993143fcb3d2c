// Which row of which dataset is learned from when: an endless order that depends on sizes, weights and a seed
// alone, so that a resumed run goes on with the same ones.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/epoch_order.h"

namespace sluice::sft {

// One dataset comes in a new shuffled order each epoch. Of several, each draw takes one with a probability
// that is its share of the weights, and then the next row of that one's own shuffled order. Keeps 8 bytes a
// row; one thread owns it.
class ExampleOrder {
 public:
  struct Dataset {
    int64_t size = 0;
    double weight = 1.0;
    bool in_order = false;  // the first epoch goes by the rows' numbers
  };
  struct Place {
    size_t dataset = 0;
    int64_t row = 0;

    bool operator==(const Place&) const = default;
  };

  // Throws Error when there is no dataset, an empty one, or one whose weight is not above 0.
  ExampleOrder(std::vector<Dataset> datasets, uint64_t seed);

  // The row at a place of the order, from 0. Where several datasets are drawn from, the draws that lie
  // between it and the one asked for before are counted, and all before it when it lies further back.
  Place at(int64_t ordinal);

 private:
  // How far the order of one dataset is.
  struct Progress {
    int64_t drawn = 0;  // rows, before next_
    EpochOrder order;
  };
  size_t draw(int64_t ordinal) const;

  const std::vector<Dataset> datasets_;
  const uint64_t seed_;
  double total_weight_ = 0.0;
  int64_t next_ = 0;  // the ordinal that `drawn` counts up to
  std::vector<Progress> progress_;
};

}  // namespace sluice::sft
