// Which keys each query of a packed batch sees, as runs of rows; worked out once, used by every layer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "model/kernels/kernels.h"
#include "model/kv_cache.h"
#include "model/packed_batch.h"

namespace sluice::model {

class AttentionPlan {
 public:
  using KeyRun = cpu::KeyRun;
  // Queries are rows first_query .. first_query + num_queries; the keys of its runs, in order, have the
  // places 0, 1, ...; query i has the place first_place + i. Places count from the first key that is there.
  struct Sequence {
    int64_t first_query = 0;
    int64_t num_queries = 0;
    int64_t first_place = 0;
    int64_t num_keys = 0;
    int64_t first_run = 0, num_runs = 0;  // of `runs`
  };
  std::vector<Sequence> sequences;  // none is empty; together they have every row once, in order
  std::vector<KeyRun> runs;

  // The same as index tensors, all sequences padded to the longest: for a device without a kernel of its own.
  struct Padded {
    at::Tensor query_index;   // [sequences, max_queries] int64 into queries, 0 where padded
    at::Tensor key_index;     // [sequences, max_keys] int64 into keys, 0 where padded
    at::Tensor query_place;   // [sequences, max_queries] int64, a huge number where padded
    at::Tensor key_place;     // [sequences, max_keys] int64, a larger one where padded
    at::Tensor row_of_query;  // [rows] int64 into query_index flattened
    bool even = false;        // every sequence has max_queries queries: rows need no gathering
  };
  // Made on the first call; one thread at a time.
  const Padded& padded(const at::Device& device) const;

  // The same for kernels that take sequences of any length end to end: sequence s has the queries
  // cum_queries[s] .. cum_queries[s + 1], and the gathered keys cum_keys[s] .. cum_keys[s + 1], the last of
  // which is its last query's own.
  struct Gathered {
    at::Tensor cum_queries, cum_keys;  // [sequences + 1] int32
    at::Tensor key_index;              // [gathered keys] int64 into keys; one that several see comes often
    int64_t max_queries = 0, max_keys = 0;
  };
  // Made on the first call; one thread at a time.
  const Gathered& gathered(const at::Device& device) const;

 private:
  mutable std::optional<Padded> padded_;
  mutable std::optional<Gathered> gathered_;
};

// Keys are rows of the batch.
std::shared_ptr<const AttentionPlan> make_attention_plan(const PackedBatch& batch);
// Keys are slots of the cache: those that a query of the batch can see through this window.
std::shared_ptr<const AttentionPlan> make_attention_plan(const PackedBatch& batch, const CacheView& view,
                                                         const std::optional<int64_t>& window);

// Where each row of a batch is kept, [rows] int64 on the CPU.
at::Tensor cache_slots(const PackedBatch& batch, const CacheView& view);

}  // namespace sluice::model
