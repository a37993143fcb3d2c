#include "model/internal/pass.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/internal/raw_operators.h"

namespace sluice::model {

Pass::Pass(PackedBatch batch, const CacheView* view, std::vector<Rope>& ropes, int64_t max_position,
           bool trains)
    : batch_(std::move(batch)), view_(view), trains_(trains) {
  for (auto& rope : ropes) ropes_.push_back(rope.tables(batch_, max_position));
  if (view == nullptr) return;
  one_query_each_ = true;
  for (size_t s = 1; s < batch_.starts.size(); ++s) {
    one_query_each_ = one_query_each_ && batch_.starts[s] - batch_.starts[s - 1] <= 1;
  }
  starts_ = std::ranges::all_of(view->cached, [](int64_t cached) { return cached == 0; });
  require(std::ranges::all_of(batch_.prefix, [](int64_t prefix) { return prefix == kNoPrefix; }),
          "network: a batch over a cache has no prefix links");
}

std::shared_ptr<const AttentionPlan> Pass::plan(const std::optional<int64_t>& window) {
  auto& plan = plans_[starts_ ? std::nullopt : window];
  if (plan == nullptr)
    plan = starts_ ? make_attention_plan(batch_) : make_attention_plan(batch_, *view_, window);
  return plan;
}

std::optional<int64_t> Pass::mask_window(const std::optional<int64_t>& window) const {
  return !starts_ && one_query_each_ ? std::nullopt : window;
}

at::Tensor Pass::keep(int64_t layer, const std::string& name, const at::Tensor& x) {
  if (!slots_.defined()) slots_ = cache_slots(batch_, *view_).to(x.device());
  const auto table = view_->cache->rows(layer, name).view({-1, x.size(1), x.size(2)});
  raw::put_rows(table, slots_, x);
  return table;
}

}  // namespace sluice::model
