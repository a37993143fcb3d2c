// One step of the engine: what to feed the network, and a token for each row of what comes back.
#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

#include "actors/engine.h"
#include "actors/internal/engine_state.h"
#include "model/packed_batch.h"

namespace sluice::actors {
namespace {

// What a sequence of the request may grow to.
int64_t final_length(const GenerationRequest& request) {
  return std::ssize(request.prompt) + request.sampling.max_new_tokens;
}

// Draws under these need the same treatment of the logits.
bool same_distribution(const buffers::SamplingParams& a, const buffers::SamplingParams& b) {
  return a.temperature == b.temperature && a.top_k == b.top_k && a.top_p == b.top_p;
}

}  // namespace

void Engine::prefill(std::span<const std::unique_ptr<Active>> requests) {
  model::PackedBatchBuilder builder;
  model::CacheView view{.cache = cache_.get()};
  std::vector<int64_t> last_rows;
  for (const auto& active : requests) {
    builder.add(active->request.prompt, model::kNoPrefix, 0, final_length(active->request));
    view.block_table.push_back(active->prompt_blocks);
    view.cached.push_back(0);
    last_rows.push_back(builder.num_rows() - 1);
  }
  const auto hidden = network_.forward(builder.build(network_.device()), &view);
  const auto last = hidden.index_select(0, at::tensor(last_rows, at::kLong).to(network_.device()));
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i]->last_hidden = last.narrow(0, static_cast<int64_t>(i), 1);
  }
}

// Gives each sample that has room a block with its prompt in it; the last one of a request gets the prompt's
// own.
void Engine::start_samples() {
  for (const auto& active : active_) {
    while (active->num_unstarted() > 0 && decode_->num_running < options_.max_rows) {
      const bool is_last = active->num_unstarted() == 1;
      if (!is_last && cache_->num_free() == 0) return;
      auto& sample = active->samples[static_cast<size_t>(active->num_started++)];
      sample.cached = std::ssize(active->request.prompt);
      if (is_last) {
        sample.blocks = std::exchange(active->prompt_blocks, {});
      } else {
        sample.blocks = cache_->allocate(1);
        cache_->copy(active->prompt_blocks, sample.blocks, sample.cached);
      }
      sample.running = true;
      ++decode_->num_running;
      decode_->stale = true;
    }
  }
}

void Engine::collect_rows() {
  auto& decode = *decode_;
  decode.rows.clear();
  decode.view = {.cache = cache_.get()};
  for (const bool fresh : {false, true}) {
    for (const auto& active : active_) {
      for (auto& sample : active->samples) {
        if (!sample.running || sample.pending.empty() != fresh) continue;
        decode.rows.push_back(&sample);
        if (!fresh) decode.view.block_table.push_back(sample.blocks);
      }
    }
    if (!fresh) decode.num_continuing = decode.rows.size();
  }
  decode.view.cached.resize(decode.num_continuing);
  decode.keys.resize(decode.rows.size());
  decode.stale = decode.num_continuing < decode.rows.size();  // the fresh ones continue in the next step
}

// The ring of a layer with a window takes kMaxWindowAppend tokens at a time: all but the last ones go first.
void Engine::feed_surplus(Sample& sample) {
  constexpr auto kStep = static_cast<size_t>(model::kMaxWindowAppend);
  while (sample.pending.size() > kStep) {
    model::PackedBatchBuilder builder;
    builder.add(std::span(sample.pending).first(kStep), model::kNoPrefix, sample.cached,
                final_length(sample.owner->request));
    const model::CacheView view{
        .cache = cache_.get(), .block_table = {sample.blocks}, .cached = {sample.cached}};
    network_.forward(builder.build(network_.device()), &view);
    sample.cached += model::kMaxWindowAppend;
    sample.pending.erase(sample.pending.begin(), sample.pending.begin() + model::kMaxWindowAppend);
  }
}

// Feeds the pending tokens; the hidden state of each continuing row's last one, [continuing, hidden].
at::Tensor Engine::decode_hidden() {
  auto& decode = *decode_;
  model::PackedBatch batch;
  batch.starts = {0};
  for (size_t r = 0; r < decode.num_continuing; ++r) {
    feed_surplus(*decode.rows[r]);
    batch.final_lengths.push_back(final_length(decode.rows[r]->owner->request));
    batch.starts.push_back(batch.starts.back() + std::ssize(decode.rows[r]->pending));
  }
  batch.prefix.assign(decode.num_continuing, model::kNoPrefix);
  auto tokens = at::empty({batch.num_rows()}, at::kLong),
       positions = at::empty({batch.num_rows()}, at::kLong);
  auto* token = tokens.mutable_data_ptr<int64_t>();
  auto* position = positions.mutable_data_ptr<int64_t>();
  for (size_t r = 0; r < decode.num_continuing; ++r) {
    auto& row = *decode.rows[r];
    decode.view.cached[r] = row.cached;
    for (const int32_t pending : row.pending) {
      *token++ = pending;
      *position++ = row.cached++;
    }
    row.pending.clear();
  }
  batch.tokens = tokens.to(network_.device());
  batch.positions = positions.to(network_.device());
  const auto hidden = network_.forward(batch, &decode.view);
  if (batch.num_rows() == batch.num_sequences()) return hidden;
  auto last_rows = at::empty({batch.num_sequences()}, at::kLong);
  std::transform(batch.starts.begin() + 1, batch.starts.end(), last_rows.mutable_data_ptr<int64_t>(),
                 [](int64_t end) { return end - 1; });
  return hidden.index_select(0, last_rows.to(network_.device()));
}

at::Tensor Engine::next_hidden() {
  const auto& decode = *decode_;
  std::vector<at::Tensor> parts;
  if (decode.num_continuing > 0) parts.push_back(decode_hidden());
  for (size_t r = decode.num_continuing; r < decode.rows.size(); ++r) {
    parts.push_back(decode.rows[r]->owner->last_hidden);
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

void Engine::sample_next(const at::Tensor& hidden, int64_t version) {
  auto& decode = *decode_;
  const auto& rows = decode.rows;
  for (size_t r = 0; r < rows.size(); ++r) {
    const auto& request = rows[r]->owner->request;
    decode.keys[r] = {.seed = request.seed,
                      .group = request.group,
                      .sample = rows[r]->index,
                      .position = std::ssize(rows[r]->completion.tokens)};
  }
  for (size_t first = 0, end = 0; first < rows.size(); first = end) {
    const auto& params = rows[first]->owner->request.sampling;
    while (end < rows.size() && same_distribution(params, rows[end]->owner->request.sampling)) ++end;
    const auto part = hidden.narrow(0, static_cast<int64_t>(first), static_cast<int64_t>(end - first));
    const auto drawn =
        sample_tokens(part, network_.head(), std::span(decode.keys).subspan(first, end - first), params,
                      network_.config().logit_soft_cap);
    for (size_t r = first; r < end; ++r) {
      auto& row = *rows[r];
      const auto& next = drawn[r - first];
      row.completion.tokens.push_back(next.token);
      row.completion.mask.push_back(1);
      row.completion.logprobs.push_back(next.logprob);
      row.completion.kept_mass.push_back(next.kept_mass);
      row.completion.versions.push_back(version);
      row.pending.push_back(next.token);
      if (stop_ids_.contains(next.token)) {
        end_sample(row, buffers::FinishReason::Stop);
      } else if (row.full()) {
        end_sample(row, buffers::FinishReason::Length);
      }
    }
  }
  num_tokens_ += rows.size();
}

void Engine::end_sample(Sample& sample, buffers::FinishReason reason) {
  sample.completion.finish = reason;
  sample.running = false;
  sample.pending.clear();
  cache_->release(std::exchange(sample.blocks, {}));
  ++sample.owner->num_finished;
  --decode_->num_running;
  decode_->stale = true;
}

}  // namespace sluice::actors
