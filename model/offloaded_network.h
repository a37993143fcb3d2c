// A frozen network whose weights are not in the memory that it computes in but while a pass needs them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "model/block_weights.h"
#include "model/network.h"

namespace sluice::model {

class WeightMap;

// On the CPU they stay in the files of a model directory, read anew for each pass: the system keeps what it
// has room for. For a GPU they lie in pinned memory of the host. For as long as a pass goes on there are
// those outside of the blocks and, one after another, those of the block that computes.
//
// Not safe from several threads at once.
class OffloadedNetwork final : public BlockWeights {
 public:
  // Throws what load_model() throws for such a directory.
  OffloadedNetwork(const std::filesystem::path& directory, const at::Device& device,
                   Rounding rounding = Rounding::None);
  ~OffloadedNetwork() override;

  // What Network::logprobs() of the whole network gives, to the last bit, without gradients.
  BatchLogprobs logprobs(const PackedBatch& batch, const TokenTargets& targets, double temperature) const;
  // Network::weights_hash(), of what is read now.
  std::string weights_hash() const;

  void gather(int64_t block) override;
  void release(int64_t /*block*/) override {}  // the next one takes its place
  void take_gradient(int64_t /*block*/) override {}

 private:
  class Window;
  // Of the slots `first` to `end`, as the network has them.
  void bring(size_t first, size_t end) const;

  const std::unique_ptr<const WeightMap> files_;
  const std::unique_ptr<Network> network_;
  std::vector<size_t> first_slots_;  // of each block, and the one behind the last
  std::vector<at::Tensor> pinned_;   // by slot, for a GPU
};

}  // namespace sluice::model
