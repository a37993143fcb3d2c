#include "model/internal/attention_plan.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace sluice::model {
namespace {

using Sequence = AttentionPlan::Sequence;
constexpr int64_t kPaddedQueryPlace = int64_t{1} << 60;  // sees every real key, so that no row is all masked
constexpr int64_t kPaddedKeyPlace = int64_t{1} << 61;    // seen by none

// Adds keys to the sequence that `plan` is at; runs that touch become one.
void add_run(AttentionPlan& plan, Sequence& sequence, int64_t first_row, int64_t count) {
  if (count == 0) return;
  sequence.num_keys += count;
  if (sequence.num_runs > 0) {
    auto& last = plan.runs.back();
    if (last.first_row + last.count == first_row) {
      last.count += count;
      return;
    }
  }
  plan.runs.push_back({first_row, count});
  ++sequence.num_runs;
}

void add_keys_of_batch(AttentionPlan& plan, Sequence& sequence, const PackedBatch& batch, size_t index) {
  if (const int64_t prefix = batch.prefix[index]; prefix != kNoPrefix) {
    const auto at = static_cast<size_t>(prefix);
    require(prefix >= 0 && at < index && batch.prefix[at] == kNoPrefix, "attention: sequence ", index,
            " cannot have sequence ", prefix, " as its prefix");
    add_run(plan, sequence, batch.starts[at], batch.starts[at + 1] - batch.starts[at]);
    sequence.first_place = sequence.num_keys;
  }
  add_run(plan, sequence, sequence.first_query, sequence.num_queries);
}

void add_keys_of_cache(AttentionPlan& plan, Sequence& sequence, const PackedBatch& batch,
                       const CacheView& view, const std::optional<int64_t>& window, size_t index) {
  require(batch.prefix[index] == kNoPrefix,
          "attention: a sequence that reads a cache has no prefix, sequence ", index, " has ",
          batch.prefix[index]);
  const int64_t cached = view.cached[index], total = cached + sequence.num_queries;
  // The oldest key that the first query sees.
  const int64_t first = window ? std::max<int64_t>(0, cached - *window + 1) : 0;
  sequence.first_place = cached - first;
  const int64_t step = view.cache->options().block_size;
  for (int64_t place = first; place < total;) {
    const int64_t count = std::min(step - place % step, total - place);
    add_run(plan, sequence, view.cache->slot(view.block_table[index], place), count);
    place += count;
  }
}

AttentionPlan::Padded pad(const AttentionPlan& plan, const at::Device& device) {
  const auto& sequences = plan.sequences;
  const int64_t rows = sequences.empty() ? 0 : sequences.back().first_query + sequences.back().num_queries;
  int64_t max_queries = 0, max_keys = 0;
  for (const auto& sequence : sequences) {
    max_queries = std::max(max_queries, sequence.num_queries);
    max_keys = std::max(max_keys, sequence.num_keys);
  }
  const auto count = static_cast<int64_t>(sequences.size());
  AttentionPlan::Padded padded;
  padded.query_index = at::zeros({count, max_queries}, at::kLong);
  padded.key_index = at::zeros({count, max_keys}, at::kLong);
  padded.query_place = at::full({count, max_queries}, kPaddedQueryPlace, at::kLong);
  padded.key_place = at::full({count, max_keys}, kPaddedKeyPlace, at::kLong);
  padded.row_of_query = at::zeros({rows}, at::kLong);
  padded.even = count * max_queries == rows;
  auto* row_of_query = padded.row_of_query.mutable_data_ptr<int64_t>();
  for (int64_t s = 0; s < count; ++s) {
    const auto& sequence = sequences[static_cast<size_t>(s)];
    auto* query_index = padded.query_index.mutable_data_ptr<int64_t>() + s * max_queries;
    auto* query_place = padded.query_place.mutable_data_ptr<int64_t>() + s * max_queries;
    for (int64_t i = 0; i < sequence.num_queries; ++i) {
      query_index[i] = sequence.first_query + i;
      query_place[i] = sequence.first_place + i;
      row_of_query[sequence.first_query + i] = s * max_queries + i;
    }
    auto* key_index = padded.key_index.mutable_data_ptr<int64_t>() + s * max_keys;
    auto* key_place = padded.key_place.mutable_data_ptr<int64_t>() + s * max_keys;
    int64_t place = 0;
    for (int64_t r = sequence.first_run; r < sequence.first_run + sequence.num_runs; ++r) {
      const auto& run = plan.runs[static_cast<size_t>(r)];
      for (int64_t i = 0; i < run.count; ++i, ++place) {
        key_index[place] = run.first_row + i;
        key_place[place] = place;
      }
    }
  }
  for (auto* tensor : {&padded.query_index, &padded.key_index, &padded.query_place, &padded.key_place,
                       &padded.row_of_query}) {
    *tensor = tensor->to(device);
  }
  return padded;
}

AttentionPlan::Gathered gather_keys(const AttentionPlan& plan, const at::Device& device) {
  AttentionPlan::Gathered gathered;
  std::vector<int32_t> queries{0}, keys{0};
  std::vector<int64_t> index;
  for (const auto& sequence : plan.sequences) {
    queries.push_back(queries.back() + static_cast<int32_t>(sequence.num_queries));
    keys.push_back(keys.back() + static_cast<int32_t>(sequence.num_keys));
    gathered.max_queries = std::max(gathered.max_queries, sequence.num_queries);
    gathered.max_keys = std::max(gathered.max_keys, sequence.num_keys);
    for (int64_t r = sequence.first_run; r < sequence.first_run + sequence.num_runs; ++r) {
      const auto& run = plan.runs[static_cast<size_t>(r)];
      for (int64_t i = 0; i < run.count; ++i) index.push_back(run.first_row + i);
    }
  }
  gathered.cum_queries = at::tensor(queries, at::kInt).to(device);
  gathered.cum_keys = at::tensor(keys, at::kInt).to(device);
  gathered.key_index = at::tensor(index, at::kLong).to(device);
  return gathered;
}

void check_view(const PackedBatch& batch, const CacheView& view) {
  const auto count = static_cast<size_t>(batch.num_sequences());
  require(view.cache != nullptr && view.block_table.size() == count && view.cached.size() == count,
          "attention: a batch of ", count, " sequences, a cache view of ", view.block_table.size(), " and ",
          view.cached.size());
}

// Calls add_keys(plan, sequence, index) for every sequence that has rows.
template <class AddKeys>
std::shared_ptr<const AttentionPlan> make_plan(const PackedBatch& batch, AddKeys add_keys) {
  require(batch.starts.size() == batch.prefix.size() + 1 && batch.starts.front() == 0,
          "attention: ", batch.starts.size(), " starts for ", batch.prefix.size(), " sequences");
  auto plan = std::make_shared<AttentionPlan>();
  plan->sequences.reserve(batch.prefix.size());
  for (size_t s = 0; s < batch.prefix.size(); ++s) {
    Sequence sequence;
    sequence.first_query = batch.starts[s];
    sequence.num_queries = batch.starts[s + 1] - batch.starts[s];
    require(sequence.num_queries >= 0, "attention: sequence ", s, " has ", sequence.num_queries, " rows");
    if (sequence.num_queries == 0) continue;
    sequence.first_run = static_cast<int64_t>(plan->runs.size());
    add_keys(*plan, sequence, s);
    plan->sequences.push_back(sequence);
  }
  return plan;
}

}  // namespace

std::shared_ptr<const AttentionPlan> make_attention_plan(const PackedBatch& batch) {
  return make_plan(batch, [&](AttentionPlan& plan, Sequence& sequence, size_t index) {
    add_keys_of_batch(plan, sequence, batch, index);
  });
}

std::shared_ptr<const AttentionPlan> make_attention_plan(const PackedBatch& batch, const CacheView& view,
                                                         const std::optional<int64_t>& window) {
  check_view(batch, view);
  return make_plan(batch, [&](AttentionPlan& plan, Sequence& sequence, size_t index) {
    add_keys_of_cache(plan, sequence, batch, view, window, index);
  });
}

at::Tensor cache_slots(const PackedBatch& batch, const CacheView& view) {
  check_view(batch, view);
  auto slots = at::empty({batch.num_rows()}, at::kLong);
  auto* slot = slots.mutable_data_ptr<int64_t>();
  for (size_t s = 0; s < batch.prefix.size(); ++s) {
    for (int64_t i = 0; i < batch.starts[s + 1] - batch.starts[s]; ++i)
      *slot++ = view.cache->slot(view.block_table[s], view.cached[s] + i);
  }
  return slots;
}

const AttentionPlan::Gathered& AttentionPlan::gathered(const at::Device& device) const {
  if (!gathered_) gathered_ = gather_keys(*this, device);
  return *gathered_;
}

const AttentionPlan::Padded& AttentionPlan::padded(const at::Device& device) const {
  if (!padded_) padded_ = pad(*this, device);
  return *padded_;
}

}  // namespace sluice::model
