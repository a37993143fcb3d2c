#include "model/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace sluice::model {

KvCache::KvCache(const KvCacheOptions& options, const at::Device& device) : options_(options) {
  require(options.num_layers > 0 && options.num_blocks > 0 && options.block_size > 0,
          "KvCache: ", options.num_layers, " layers, ", options.num_blocks, " blocks of ", options.block_size,
          " tokens");
  const auto tensor_options = at::TensorOptions().dtype(at::kFloat).device(device);
  const int64_t slots = options.num_blocks * options.block_size;
  layers_.resize(static_cast<size_t>(options.num_layers));
  for (auto& layer : layers_) {
    for (const CacheRow& row : options.layout) {
      // Zeros: a masked slot is multiplied by a probability of zero, and what lies there must be finite.
      layer.push_back(at::zeros({slots, row.width}, tensor_options));
    }
  }
  for (int64_t block = options.num_blocks; block-- > 0;) free_.push_back(block);
}

std::vector<int64_t> KvCache::allocate(int64_t count) {
  require(count >= 0 && count <= num_free(), "KvCache: ", count, " blocks asked for, ", num_free(), " free");
  std::vector<int64_t> blocks(free_.rbegin(), free_.rbegin() + count);
  free_.resize(free_.size() - static_cast<size_t>(count));
  return blocks;
}

void KvCache::release(const std::vector<int64_t>& blocks) {
  for (const int64_t block : blocks) {
    require(block >= 0 && block < options_.num_blocks, "KvCache: block ", block, " of ", options_.num_blocks);
    require(std::find(free_.begin(), free_.end(), block) == free_.end(), "KvCache: block ", block,
            " is already free");
    free_.push_back(block);
  }
}

int64_t KvCache::slot(const std::vector<int64_t>& blocks, int64_t place) const {
  const int64_t room = static_cast<int64_t>(blocks.size()) * options_.block_size;
  require(place >= 0 && place < room, "KvCache: place ", place, " of a sequence with room for ", room,
          " tokens");
  return blocks[static_cast<size_t>(place / options_.block_size)] * options_.block_size +
         place % options_.block_size;
}

at::Tensor KvCache::rows(int64_t layer, const std::string& name) const {
  const auto& layout = options_.layout;
  const auto found =
      std::find_if(layout.begin(), layout.end(), [&](const CacheRow& row) { return row.name == name; });
  require(found != layout.end(), "KvCache: no rows named \"", name, "\"");
  require(layer >= 0 && layer < options_.num_layers, "KvCache: layer ", layer, " of ", options_.num_layers);
  return layers_[static_cast<size_t>(layer)][static_cast<size_t>(found - layout.begin())];
}

void KvCache::copy(const std::vector<int64_t>& from, const std::vector<int64_t>& to, int64_t tokens) {
  for (int64_t place = 0; place < tokens; place += options_.block_size) {
    const int64_t count = std::min(options_.block_size, tokens - place);
    const int64_t source = slot(from, place), target = slot(to, place);
    for (const auto& layer : layers_) {
      for (const auto& rows : layer) rows.narrow(0, target, count).copy_(rows.narrow(0, source, count));
    }
  }
}

}  // namespace sluice::model
