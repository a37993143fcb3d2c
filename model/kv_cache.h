// What decoding keeps of the tokens it has seen, addressed by block table.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sluice::model {

// What a layer keeps for one token, by name: two vectors of kv_heads x head_dim, or one latent vector.
struct CacheRow {
  std::string name;  // "k", "v", "latent"
  int64_t width = 0;
};
struct CacheLayer {
  std::vector<CacheRow> rows;
  std::optional<int64_t> window = {};  // tokens an attention sees: older ones are not kept
};
using CacheLayout = std::vector<CacheLayer>;  // one a layer

// A sequence goes on in a cache with a window by at most so many tokens at a time: what a ring holds beyond
// it.
inline constexpr int64_t kMaxWindowAppend = 16;

struct KvCacheOptions {
  CacheLayout layout;
  int64_t num_blocks = 0;
  int64_t block_size = 0;  // tokens in a block
};

// A pool of blocks. A sequence holds a list of them (its row of the block table); the token at place p lies
// in block p / block_size. One block a sequence serves today; the attention does not know. A layer with a
// window keeps a ring of ring_size() tokens in a sequence's first block instead, place p at p modulo that.
class KvCache {
 public:
  KvCache(const KvCacheOptions& options, const at::Device& device);

  // Ids of free blocks; fewer than `count` free is an Error.
  std::vector<int64_t> allocate(int64_t count);
  void release(const std::vector<int64_t>& blocks);
  int64_t num_free() const { return static_cast<int64_t>(free_.size()); }

  // Slot of the token at `place` of a sequence holding `blocks`: a row of the tensors of layers with this
  // window.
  int64_t slot(const std::vector<int64_t>& blocks, int64_t place, const std::optional<int64_t>& window) const;
  // Tokens of a block that such a layer keeps: block_size without a window.
  int64_t ring_size(const std::optional<int64_t>& window) const;
  // All slots of one layer and name: [num_blocks * ring_size, width].
  at::Tensor rows(int64_t layer, const std::string& name) const;
  // Copies the first `tokens` tokens of a sequence to another, in every layer.
  void copy(const std::vector<int64_t>& from, const std::vector<int64_t>& to, int64_t tokens);

  int64_t bytes() const;
  const KvCacheOptions& options() const { return options_; }

 private:
  const KvCacheOptions options_;
  std::vector<std::vector<at::Tensor>> layers_;  // [layer][row of the layout]
  std::vector<int64_t> free_;
};

// Where the sequences of a batch stand in a cache.
struct CacheView {
  KvCache* cache = nullptr;
  std::vector<std::vector<int64_t>> block_table;  // [sequences]
  std::vector<int64_t> cached;                    // [sequences] tokens already there, before this batch
};

}  // namespace sluice::model
