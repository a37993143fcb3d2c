#include "model/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace sluice::model {

KvCache::KvCache(const KvCacheOptions& options, const at::Device& device) : options_(options) {
  require(!options.layout.empty() && options.num_blocks > 0 && options.block_size > 0,
          "KvCache: ", options.layout.size(), " layers, ", options.num_blocks, " blocks of ",
          options.block_size, " tokens");
  const auto tensor_options = at::TensorOptions().dtype(at::kFloat).device(device);
  for (const auto& layer : options.layout) {
    auto& tensors = layers_.emplace_back();
    for (const CacheRow& row : layer.rows) {
      // Zeros: a masked slot is multiplied by a probability of zero, and what lies there must be finite.
      tensors.push_back(at::zeros({options.num_blocks * ring_size(layer.window), row.width}, tensor_options));
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

int64_t KvCache::ring_size(const std::optional<int64_t>& window) const {
  return window ? std::min(options_.block_size, *window + kMaxWindowAppend - 1) : options_.block_size;
}

int64_t KvCache::slot(const std::vector<int64_t>& blocks, int64_t place,
                      const std::optional<int64_t>& window) const {
  const int64_t room = static_cast<int64_t>(blocks.size()) * options_.block_size;
  require(place >= 0 && place < room, "KvCache: place ", place, " of a sequence with room for ", room,
          " tokens");
  if (!window) {
    return blocks[static_cast<size_t>(place / options_.block_size)] * options_.block_size +
           place % options_.block_size;
  }
  const int64_t ring = ring_size(window);
  return blocks.front() * ring + place % ring;
}

at::Tensor KvCache::rows(int64_t layer, const std::string& name) const {
  require(layer >= 0 && layer < std::ssize(options_.layout), "KvCache: layer ", layer, " of ",
          options_.layout.size());
  const auto& rows = options_.layout[static_cast<size_t>(layer)].rows;
  const auto found = std::ranges::find(rows, name, &CacheRow::name);
  require(found != rows.end(), "KvCache: no rows named \"", name, "\"");
  return layers_[static_cast<size_t>(layer)][static_cast<size_t>(found - rows.begin())];
}

void KvCache::copy(const std::vector<int64_t>& from, const std::vector<int64_t>& to, int64_t tokens) {
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const auto& window = options_.layout[layer].window;
    const int64_t step = ring_size(window), end = window ? std::min(tokens, step) : tokens;
    for (int64_t place = 0; place < end; place += step) {
      const int64_t count = std::min(step, end - place);
      const int64_t source = slot(from, place, window), target = slot(to, place, window);
      for (const auto& rows : layers_[layer]) {
        rows.narrow(0, target, count).copy_(rows.narrow(0, source, count));
      }
    }
  }
}

int64_t KvCache::bytes() const {
  int64_t bytes = 0;
  for (const auto& layer : layers_) {
    for (const auto& rows : layer) bytes += static_cast<int64_t>(rows.nbytes());
  }
  return bytes;
}

}  // namespace sluice::model
