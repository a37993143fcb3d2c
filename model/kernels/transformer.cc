#include "model/kernels/transformer.h"

#include <algorithm>

namespace sluice::model::cpu {
namespace {

constexpr int64_t kChunk =
    48;  // rows that go from product to product together, so that they stay in the cache
// With fewer rows a thread, threads share columns and wait for each other four times a layer: each weight is
// then read by one of them alone, and that is what few rows wait for.
constexpr int64_t kRowsWorthAThread = 16;

void reserve(std::vector<float>& numbers, int64_t count) {
  if (std::ssize(numbers) < count) numbers.resize(static_cast<size_t>(count));
}

struct Range {
  int64_t first, end;
  int64_t count() const { return end - first; }
};
Range share_of(int64_t count, int64_t thread, int64_t threads) {
  return {count * thread / threads, count * (thread + 1) / threads};
}
Range panel_share(int64_t columns, int64_t thread, int64_t threads) {
  const auto panels = share_of((columns + kPanelColumns - 1) / kPanelColumns, thread, threads);
  return {std::min(panels.first * kPanelColumns, columns), std::min(panels.end * kPanelColumns, columns)};
}

void add(const float* x, int64_t count, float* to) {
  for (int64_t i = 0; i < count; ++i) to[i] += x[i];
}

float widened(uint16_t half) { return __builtin_bit_cast(float, static_cast<uint32_t>(half) << 16); }

int64_t all_heads(const Transformer& network) { return network.heads + 2 * network.kv_heads; }

}  // namespace

void PagePool::copy_page(int64_t layers, int32_t from, int32_t to) const {
  for (int64_t layer = 0; layer < layers; ++layer)
    std::copy_n(of_layer(layer) + from * page_size, page_size, of_layer(layer) + to * page_size);
}

void TransformerStep::run(const Transformer& network, const PagePool& pool,
                          std::span<const StepSequence> sequences, const Sink& sink) {
  network_ = &network;
  pool_ = pool;
  sequences_ = sequences;
  sink_ = &sink;
  plan();
  team_.run(work_of_thread_);
}

void TransformerStep::plan() {
  const auto& network = *network_;
  starts_.assign(1, 0);
  positions_.clear();
  wanted_.clear();
  most_keys_ = 0;
  for (size_t s = 0; s < sequences_.size(); ++s) {
    const auto& sequence = sequences_[s];
    for (int64_t i = 0; i < sequence.count; ++i) positions_.push_back(sequence.cached + i);
    starts_.push_back(starts_.back() + sequence.count);
    most_keys_ = std::max(most_keys_, sequence.cached + sequence.count);
    for (int64_t i = 0; i < sequence.num_logits; ++i)
      wanted_.push_back({starts_.back() - sequence.num_logits + i, s, i});
  }
  const int64_t rows = starts_.back(), threads = team_.size(), wide = all_heads(network) * network.head_dim;
  by_columns_ = threads > 1 && rows < kRowsWorthAThread * threads && network.mlp_width % kPanelColumns == 0;
  shares_.clear();
  straddles_ = false;
  for (int64_t thread = 0; thread < threads; ++thread) {
    auto [first, end] = share_of(rows, thread, threads);
    // The end of a sequence near it, if there is one: then no thread reads what another writes.
    const auto near = std::lower_bound(starts_.begin(), starts_.end(), end);
    if (*near - end < rows / threads / 8) end = *near;
    straddles_ = straddles_ || !std::binary_search(starts_.begin(), starts_.end(), end);
    first = thread == 0 ? 0 : shares_.back().end;
    shares_.push_back({first, std::max(first, end)});
  }

  reserve(heads_, rows * wide);
  if (by_columns_) {
    reserve(wide_, rows * network.mlp_width);
    reserve(out_, rows * network.hidden);
    reserve(logits_, std::ssize(wanted_) * network.vocab);
  } else {
    reserve(x_, rows * network.hidden);
  }
  scratch_.resize(static_cast<size_t>(threads));
  const int64_t together = by_columns_ ? rows : std::min(rows, kChunk);
  for (auto& scratch : scratch_) {
    reserve(scratch.normed, together * network.hidden);
    reserve(scratch.wide, together * 2 * network.mlp_width);
    reserve(scratch.attention, attention_scratch(most_keys_));
    reserve(scratch.x, together * network.hidden);
    if (!by_columns_) reserve(scratch.logits, std::min(std::ssize(wanted_), kChunk) * network.vocab);
  }
}

void TransformerStep::work(int thread) {
  if (by_columns_) {
    work_on_columns(thread);
  } else {
    work_on_rows(thread);
  }
}

// A thread takes some rows from the first product to the last.
void TransformerStep::work_on_rows(int thread) {
  const auto& network = *network_;
  auto& scratch = scratch_[static_cast<size_t>(thread)];
  const Rows mine = shares_[static_cast<size_t>(thread)];
  const int64_t hidden = network.hidden, wide = all_heads(network) * network.head_dim;
  const auto in_chunks = [&](auto f) {
    for (int64_t first = mine.first; first < mine.end; first += kChunk)
      f(Rows{first, std::min(first + kChunk, mine.end)}, x_.data() + first * hidden);
  };
  float* const normed = scratch.normed.data();
  // Adds a product to the rows of x, normed before where there is such a norm.
  const auto add_product = [&](const Product& product, const float* from, int64_t stride,
                               const float* post_norm, int64_t rows, float* x) {
    if (post_norm == nullptr)
      return multiply(product, from, stride, rows, 0, product.columns, x, hidden, /*adds=*/true);
    float* const out = scratch.x.data();
    multiply(product, from, stride, rows, 0, product.columns, out, hidden);
    norm(out, post_norm, rows, out);
    add(out, rows * hidden, x);
  };

  embed(mine, x_.data() + mine.first * hidden);
  for (size_t l = 0; l < network.layers.size(); ++l) {
    const auto& layer = network.layers[l];
    in_chunks([&](Rows rows, float* x) {
      norm(x, layer.attention_norm, rows.count(), normed);
      multiply(layer.qkv, normed, hidden, rows.count(), 0, wide, heads_.data() + rows.first * wide, wide);
      prepare_heads(layer, heads_.data(), rows, 0, network.kv_heads);
      keep(l, heads_.data(), rows, 0, network.kv_heads);
    });
    if (straddles_) team_.barrier();
    attend(l, heads_.data(), wide, mine, 0, network.kv_heads, scratch);
    in_chunks([&](Rows rows, float* x) {
      const int64_t count = rows.count();
      add_product(layer.output, heads_.data() + rows.first * wide, wide, layer.attention_post_norm, count, x);
      norm(x, layer.mlp_norm, count, normed);
      float* const gate_up = scratch.wide.data();
      multiply(layer.gate_up, normed, hidden, count, 0, 2 * network.mlp_width, gate_up,
               2 * network.mlp_width);
      (network.gelu ? kernels().gelu_gated : kernels().swiglu)(gate_up, count, network.mlp_width, gate_up);
      add_product(layer.down, gate_up, network.mlp_width, layer.mlp_post_norm, count, x);
    });
  }

  const auto wanted_from = [&](int64_t row) {
    return std::ranges::lower_bound(wanted_, row, {}, &Wanted::row) - wanted_.begin();
  };
  const int64_t end = wanted_from(mine.end);
  for (int64_t at = wanted_from(mine.first), count = 0; at < end; at += count) {
    count = std::min(end - at, kChunk);
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = wanted_[static_cast<size_t>(at + i)].row;
      norm(x_.data() + row * hidden, network.last_norm, 1, normed + i * hidden);
    }
    multiply(network.head, normed, hidden, count, 0, network.vocab, scratch.logits.data(), network.vocab);
    for (int64_t i = 0; i < count; ++i)
      give(static_cast<size_t>(at + i), scratch.logits.data() + i * network.vocab);
  }
}

// A thread takes some columns of every product, and some key heads; rows are normed by each for itself.
void TransformerStep::work_on_columns(int thread) {
  const auto& network = *network_;
  auto& scratch = scratch_[static_cast<size_t>(thread)];
  const int64_t threads = team_.size(), rows = starts_.back(), hidden = network.hidden;
  const int64_t head_dim = network.head_dim, wide = all_heads(network) * head_dim, width = network.mlp_width;
  const int64_t group = network.heads / network.kv_heads;
  const auto heads = share_of(network.kv_heads, thread, threads);
  const auto of_hidden = panel_share(hidden, thread, threads), of_mlp = panel_share(width, thread, threads),
             of_vocab = panel_share(network.vocab, thread, threads),
             of_wide = panel_share(wide, thread, threads);
  float *const x = scratch.x.data(), *const normed = scratch.normed.data();
  const auto part = [&](const Product& product, const float* from, int64_t stride, Range columns, float* out,
                        int64_t out_stride) {
    multiply(product, from, stride, rows, columns.first, columns.count(), out, out_stride);
  };
  // Adds what all threads have put into out_.
  const auto add_out = [&](const float* post_norm) {
    const float* out = out_.data();
    if (post_norm != nullptr) {
      norm(out, post_norm, rows, normed);
      out = normed;
    }
    add(out, rows * hidden, x);
  };

  embed({0, rows}, x);
  for (size_t l = 0; l < network.layers.size(); ++l) {
    const auto& layer = network.layers[l];
    norm(x, layer.attention_norm, rows, normed);
    if (network.kv_heads % threads == 0) {
      // The columns of this thread's heads: queries, keys, values.
      for (const Range of : {Range{heads.first * group, heads.end * group},
                             Range{network.heads + heads.first, network.heads + heads.end},
                             Range{network.heads + network.kv_heads + heads.first,
                                   network.heads + network.kv_heads + heads.end}})
        part(layer.qkv, normed, hidden, {of.first * head_dim, of.end * head_dim},
             heads_.data() + of.first * head_dim, wide);
    } else {
      part(layer.qkv, normed, hidden, of_wide, heads_.data() + of_wide.first, wide);
      team_.barrier();
    }
    prepare_heads(layer, heads_.data(), {0, rows}, heads.first, heads.end);
    keep(l, heads_.data(), {0, rows}, heads.first, heads.end);
    attend(l, heads_.data(), wide, {0, rows}, heads.first, heads.end, scratch);
    team_.barrier();
    part(layer.output, heads_.data(), wide, of_hidden, out_.data() + of_hidden.first, hidden);
    team_.barrier();
    add_out(layer.attention_post_norm);
    norm(x, layer.mlp_norm, rows, normed);
    float* const gate_up = scratch.wide.data();
    const int64_t mine = of_mlp.count();
    part(layer.gate_up, normed, hidden, of_mlp, gate_up, 2 * mine);
    part(layer.gate_up, normed, hidden, {width + of_mlp.first, width + of_mlp.end}, gate_up + mine, 2 * mine);
    (network.gelu ? kernels().gelu_gated : kernels().swiglu)(gate_up, rows, mine, gate_up);
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(gate_up + row * mine, mine, wide_.data() + row * width + of_mlp.first);
    team_.barrier();
    part(layer.down, wide_.data(), width, of_hidden, out_.data() + of_hidden.first, hidden);
    team_.barrier();
    add_out(layer.mlp_post_norm);
  }

  float* to = normed;
  for (const auto& wanted : wanted_) {
    norm(x + wanted.row * hidden, network.last_norm, 1, to);
    to += hidden;
  }
  multiply(network.head, normed, hidden, std::ssize(wanted_), of_vocab.first, of_vocab.count(),
           logits_.data() + of_vocab.first, network.vocab);
  team_.barrier();
  for (auto i = static_cast<size_t>(thread); i < wanted_.size(); i += static_cast<size_t>(threads))
    give(i, logits_.data() + static_cast<int64_t>(i) * network.vocab);
}

void TransformerStep::give(size_t wanted, float* logits) const {
  if (network_->logit_soft_cap > 0) kernels().soft_cap(logits, network_->vocab, network_->logit_soft_cap);
  const auto& [row, sequence, index] = wanted_[wanted];
  (*sink_)(sequence, index, {logits, static_cast<size_t>(network_->vocab)});
}

void TransformerStep::embed(Rows rows, float* x) const {
  const auto& network = *network_;
  for_sequences(rows, [&](const StepSequence& sequence, int64_t offset, Rows part) {
    for (int64_t i = 0; i < part.count(); ++i, x += network.hidden) {
      const int64_t first = sequence.tokens[offset + i] * network.hidden;
      if (network.table_halves) {
        const auto* row = static_cast<const uint16_t*>(network.table) + first;
        std::transform(row, row + network.hidden, x, widened);
      } else {
        std::copy_n(static_cast<const float*>(network.table) + first, network.hidden, x);
      }
      if (network.embedding_scale == 1.0f) continue;
      for (int64_t d = 0; d < network.hidden; ++d) x[d] *= network.embedding_scale;
    }
  });
}

void TransformerStep::multiply(const Product& product, const float* x, int64_t x_stride, int64_t rows,
                               int64_t first_column, int64_t columns, float* out, int64_t out_stride,
                               bool adds) const {
  kernels().matmul({.x = x,
                    .x_stride = x_stride,
                    .rows = rows,
                    .depth = product.depth,
                    .columns = columns,
                    .rounds_to = network_->rounds_to,
                    .panels = static_cast<const char*>(product.panels) +
                              packed_size(first_column, product.depth) * size_of(product.type),
                    .type = product.type,
                    .scales = product.scales == nullptr ? nullptr : product.scales + first_column,
                    .bias = product.bias == nullptr ? nullptr : product.bias + first_column,
                    .adds = adds,
                    .out = out,
                    .out_stride = out_stride});
}

void TransformerStep::norm(const float* x, const float* weight, int64_t rows, float* out) const {
  kernels().rms_norm(x, weight, network_->norm_eps, rows, network_->hidden, out, nullptr);
}

// Norms and rotates queries and keys, in place.
void TransformerStep::prepare_heads(const TransformerLayer& layer, float* qkv, Rows rows,
                                    int64_t first_kv_head, int64_t end_kv_head) const {
  const auto& network = *network_;
  const int64_t dim = network.head_dim, all = all_heads(network), group = network.heads / network.kv_heads;
  float* const first_row = qkv + rows.first * all * dim;
  const auto prepare = [&](int64_t first, int64_t count, const float* weight) {
    float* const heads = first_row + first * dim;
    for (int64_t row = 0; weight != nullptr && row < rows.count(); ++row) {
      float* const of_row = heads + row * all * dim;
      kernels().rms_norm(of_row, weight, network.norm_eps, count, dim, of_row, nullptr);
    }
    if (layer.cos != nullptr) {
      kernels().rope(heads, all * dim, layer.cos, layer.sin, positions_.data() + rows.first, rows.count(),
                     count, all, dim, layer.rope_half, /*direction=*/1.0f, heads);
    }
  };
  prepare(first_kv_head * group, (end_kv_head - first_kv_head) * group, layer.q_norm);
  prepare(network.heads + first_kv_head, end_kv_head - first_kv_head, layer.k_norm);
}

Pages TransformerStep::pages_of(size_t layer, const StepSequence& sequence) const {
  return {.pool = pool_.of_layer(static_cast<int64_t>(layer)),
          .ids = sequence.pages,
          .page_size = pool_.page_size,
          .head_dim = network_->head_dim,
          .value_dim = network_->head_dim};
}

void TransformerStep::keep(size_t layer, const float* qkv, Rows rows, int64_t first_kv_head,
                           int64_t end_kv_head) const {
  const auto& network = *network_;
  const int64_t dim = network.head_dim, wide = all_heads(network) * dim;
  for_sequences(rows, [&](const StepSequence& sequence, int64_t offset, Rows part) {
    const float* k = qkv + part.first * wide + network.heads * dim;
    kernels().store_pages({.k = k,
                           .v = k + network.kv_heads * dim,
                           .k_stride = wide,
                           .v_stride = wide,
                           .k_head_stride = dim,
                           .v_head_stride = dim,
                           .rows = part.count(),
                           .first_place = sequence.cached + offset,
                           .first_kv_head = first_kv_head,
                           .end_kv_head = end_kv_head},
                          pages_of(layer, sequence));
  });
}

// What the heads attend to takes the place of their queries.
void TransformerStep::attend(size_t layer, float* q, int64_t q_stride, Rows rows, int64_t first_kv_head,
                             int64_t end_kv_head, Scratch& scratch) const {
  const auto& network = *network_;
  const int64_t window = network.layers[layer].window;
  for_sequences(rows, [&](const StepSequence& sequence, int64_t offset, Rows part) {
    float* const first = q + part.first * q_stride;
    kernels().attention({.q = first,
                         .q_stride = q_stride,
                         .q_head_stride = network.head_dim,
                         .num_queries = part.count(),
                         .first_place = sequence.cached + offset,
                         .heads = network.heads,
                         .kv_heads = network.kv_heads,
                         .first_kv_head = first_kv_head,
                         .end_kv_head = end_kv_head,
                         .scale = network.attention_scale,
                         .soft_cap = network.attention_soft_cap,
                         .window = window > 0 ? window : most_keys_,
                         .out = first,
                         .out_stride = q_stride,
                         .scratch = scratch.attention.data()},
                        pages_of(layer, sequence));
  });
}

// f(sequence, offset of its first token here, rows) for the sequences that have some of these rows.
template <class F>
void TransformerStep::for_sequences(Rows rows, F f) const {
  auto s =
      static_cast<size_t>(std::upper_bound(starts_.begin(), starts_.end(), rows.first) - starts_.begin() - 1);
  for (int64_t row = rows.first; row < rows.end; ++s) {
    const int64_t end = std::min(starts_[s + 1], rows.end);
    if (row < end) f(sequences_[s], row - starts_[s], Rows{row, end});
    row = end;
  }
}

}  // namespace sluice::model::cpu
