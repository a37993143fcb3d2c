// What Network::forward() keeps of the tokens it has seen, addressed by block table.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::model {

// What a layer keeps for one token, by name: two vectors of kv_heads x head_dim, or one latent vector.
struct CacheRow {
  std::string name;  // "k", "v", "latent"
  int64_t width = 0;
};
using CacheLayout = std::vector<std::vector<CacheRow>>;  // [layers]

struct KvCacheOptions {
  CacheLayout layout;
  int64_t num_blocks = 0;
  int64_t block_size = 0;  // tokens in a block
};

// The memory of the blocks. A sequence has a list of them (its row of the block table); the token at place p
// lies in block p / block_size. Layers with a window keep all tokens too, and read those that they see.
class KvCache {
 public:
  KvCache(const KvCacheOptions& options, const at::Device& device);

  // The row of every layer's tensors where the token at `place` of a sequence with these blocks lies.
  int64_t slot(const std::vector<int64_t>& blocks, int64_t place) const;
  // All slots of one layer and name: [num_blocks * block_size, width].
  at::Tensor rows(int64_t layer, const std::string& name) const;
  void copy_block(int64_t from, int64_t to);

  int64_t bytes() const;
  const KvCacheOptions& options() const { return options_; }

 private:
  const KvCacheOptions options_;
  std::vector<std::vector<at::Tensor>> layers_;  // [layer][row of the layout]
};

// Where the sequences of a batch stand in a cache.
struct CacheView {
  KvCache* cache = nullptr;
  std::vector<std::vector<int64_t>> block_table;  // [sequences]
  std::vector<int64_t> cached;                    // [sequences] tokens already there, before this batch
};

}  // namespace sluice::model
