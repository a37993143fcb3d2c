// Weights of a network's blocks that are there only while a block computes.
#pragma once

#include <cstdint>

namespace sluice::model {

// Numbers of the flat buffer, side by side.
struct BlockNumbers {
  int64_t first = 0, count = 0;
};

// Who brings them. A network calls it around each of its blocks: in the order of the blocks in a forward, in
// the other one in a backward.
class BlockWeights {
 public:
  virtual ~BlockWeights() = default;
  virtual void gather(int64_t block) = 0;   // its weights are read from here on,
  virtual void release(int64_t block) = 0;  // and no more
  // A backward has added all that it adds to the gradients of the block's weights.
  virtual void take_gradient(int64_t block) = 0;
};

}  // namespace sluice::model
