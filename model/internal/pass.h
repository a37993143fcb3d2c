// What the layers of one forward share: the plan of the attention, rotary tables, where the cache is written.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "model/internal/attention_plan.h"
#include "model/internal/rope.h"
#include "model/kv_cache.h"
#include "model/packed_batch.h"

namespace sluice::model {

class Pass {
 public:
  // `view` and the ropes outlive it; the view is null for a batch that stands alone. `max_position` is the
  // batch's highest. Of a batch that trains it is told which experts were chosen.
  Pass(PackedBatch batch, const CacheView* view, std::vector<Rope>& ropes, int64_t max_position,
       bool trains = false);

  const PackedBatch& batch() const { return batch_; }
  bool trains() const { return trains_; }
  bool has_cache() const { return view_ != nullptr; }
  // Every sequence begins here: its keys are rows of the batch, whether a cache keeps them or not.
  bool starts() const { return starts_; }
  const RopeTables& rope(size_t index) const { return ropes_[index]; }
  std::shared_ptr<const AttentionPlan> plan(const std::optional<int64_t>& window);
  // Window for the attention operator: none where the plan's keys are just those that are seen.
  std::optional<int64_t> mask_window(const std::optional<int64_t>& window) const;

  // Writes x [rows, heads, width] to a layer's rows of that name, and gives all of them, [slots, heads,
  // width].
  at::Tensor keep(int64_t layer, const std::string& name, const at::Tensor& x);

  // Router logits and chosen experts of each layer that has some, in order; kept when the batch trains.
  struct Routed {
    at::Tensor logits, experts;
  };
  std::vector<Routed> routed;

 private:
  const PackedBatch batch_;  // a checkpointed block asks for it after the forward
  const CacheView* view_;
  const bool trains_;
  bool starts_ = true;
  bool one_query_each_ = false;  // of every sequence that has some
  std::vector<RopeTables> ropes_;
  std::map<std::optional<int64_t>, std::shared_ptr<const AttentionPlan>> plans_;
  at::Tensor slots_;  // of the batch's rows in the cache, made when they are first needed
};

}  // namespace sluice::model
