#include "model/kv_cache.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdlib>

#include "base/error.h"

namespace sluice::model {
namespace {

// A masked slot is multiplied by a probability of zero, and what lies there must be finite. On the CPU memory
// is given to what is written to alone.
at::Tensor zeros(at::IntArrayRef sizes, const at::Device& device) {
  const auto options = at::TensorOptions().dtype(at::kFloat).device(device);
  if (!device.is_cpu()) return at::zeros(sizes, options);
  const auto count = static_cast<size_t>(c10::multiply_integers(sizes));
  void* const memory = std::calloc(count, sizeof(float));
  require(memory != nullptr, "KvCache: no memory for ", count * sizeof(float), " bytes");
  return at::from_blob(
      memory, sizes, [](void* p) { std::free(p); }, options);
}

}  // namespace

KvCache::KvCache(const KvCacheOptions& options, const at::Device& device) : options_(options) {
  require(!options.layout.empty() && options.num_blocks > 0 && options.block_size > 0,
          "KvCache: ", options.layout.size(), " layers, ", options.num_blocks, " blocks of ",
          options.block_size, " tokens");
  for (const auto& layer : options.layout) {
    auto& tensors = layers_.emplace_back();
    for (const CacheRow& row : layer) {
      tensors.push_back(zeros({options.num_blocks * options.block_size, row.width}, device));
    }
  }
}

int64_t KvCache::slot(const std::vector<int64_t>& blocks, int64_t place) const {
  const int64_t room = static_cast<int64_t>(blocks.size()) * options_.block_size;
  require(place >= 0 && place < room, "KvCache: place ", place, " of a sequence with room for ", room,
          " tokens");
  const int64_t block = blocks[static_cast<size_t>(place / options_.block_size)];
  require(block >= 0 && block < options_.num_blocks, "KvCache: block ", block, " of ", options_.num_blocks);
  return block * options_.block_size + place % options_.block_size;
}

at::Tensor KvCache::rows(int64_t layer, const std::string& name) const {
  require(layer >= 0 && layer < std::ssize(options_.layout), "KvCache: layer ", layer, " of ",
          options_.layout.size());
  const auto& rows = options_.layout[static_cast<size_t>(layer)];
  const auto found = std::ranges::find(rows, name, &CacheRow::name);
  require(found != rows.end(), "KvCache: no rows named \"", name, "\"");
  return layers_[static_cast<size_t>(layer)][static_cast<size_t>(found - rows.begin())];
}

void KvCache::copy_block(int64_t from, int64_t to) {
  const int64_t size = options_.block_size;
  for (const auto& layer : layers_) {
    for (const auto& rows : layer) rows.narrow(0, to * size, size).copy_(rows.narrow(0, from * size, size));
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
