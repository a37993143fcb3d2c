// A network's forward as raw loops on a team of threads: what decoding runs, without an allocation a token.
//
// Every number is computed by the kernels that the operators with gradients stand on, in the same order, so
// it has the same bits as theirs, whatever the batch, the cache and the threads.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "model/kernels/kernels.h"
#include "model/kernels/team.h"

namespace sluice::model::cpu {

// Packed weights [columns, depth] and the bias of their product, null for none.
struct Product {
  const void* panels = nullptr;
  WeightType type = WeightType::Float32;
  const float* scales = nullptr;  // [columns] of Int8
  int64_t depth = 0, columns = 0;
  const float* bias = nullptr;
};

// A layer's weights; a norm that it does not have is null.
struct TransformerLayer {
  const float* attention_norm = nullptr;             // [hidden]
  Product qkv;                                       // heads + 2 kv_heads of head_dim
  const float *q_norm = nullptr, *k_norm = nullptr;  // [head_dim]
  const float *cos = nullptr, *sin = nullptr;        // [positions, rope_half]; null: not rotated
  int64_t rope_half = 0;
  int64_t window = 0;  // 0: none
  Product output;
  const float* attention_post_norm = nullptr;
  const float* mlp_norm = nullptr;
  Product gate_up, down;
  const float* mlp_post_norm = nullptr;
};

struct Transformer {
  int64_t hidden = 0, heads = 0, kv_heads = 0, head_dim = 0, mlp_width = 0, vocab = 0;
  float norm_eps = 0, attention_scale = 1, attention_soft_cap = 0, logit_soft_cap = 0;  // caps 0: none
  float embedding_scale = 1;
  bool gelu = false;                           // by tanh, instead of SiLU
  NumberType rounds_to = NumberType::Float32;  // rows, before each product
  const void* table = nullptr;                 // [vocab, hidden]
  bool table_halves = false;                   // bfloat16
  const float* last_norm = nullptr;
  Product head;
  std::vector<TransformerLayer> layers;
};

// Keys and values of all layers: [layers, pages, page_size].
struct PagePool {
  float* numbers = nullptr;
  int64_t num_pages = 0;
  int64_t page_size = 0;

  float* of_layer(int64_t layer) const { return numbers + layer * num_pages * page_size; }
  void copy_page(int64_t layers, int32_t from, int32_t to) const;
};
// Of one page of one layer, in numbers.
constexpr int64_t page_numbers(int64_t kv_heads, int64_t head_dim) {
  return kv_heads * kPageTokens * 2 * head_dim;
}

// Tokens that go on behind `cached` ones; `pages` has room for all of them.
struct StepSequence {
  const int32_t* tokens = nullptr;
  int64_t count = 0;
  int64_t cached = 0;
  const int32_t* pages = nullptr;
  int64_t num_logits = 0;  // of the last tokens
};

// One thread owns it.
class TransformerStep {
 public:
  explicit TransformerStep(int threads) : team_(threads), work_of_thread_([this](int t) { work(t); }) {}

  // Calls sink(sequence, i, logits [vocab]) for the i-th of the tokens that want them, each once, on any of
  // the threads; the logits may be written to, and are gone afterwards.
  using Sink = std::function<void(size_t, int64_t, std::span<float>)>;
  void run(const Transformer& network, const PagePool& pool, std::span<const StepSequence> sequences,
           const Sink& sink);

 private:
  struct Rows {
    int64_t first, end;
    int64_t count() const { return end - first; }
  };
  // What a thread alone writes.
  struct Scratch {
    std::vector<float> x, normed, wide, attention, logits;
  };

  void plan();
  void work(int thread);
  void work_on_rows(int thread);
  void work_on_columns(int thread);
  void give(size_t wanted, float* logits) const;

  void embed(Rows rows, float* x) const;
  void multiply(const Product& product, const float* x, int64_t x_stride, int64_t rows, int64_t first_column,
                int64_t columns, float* out, int64_t out_stride, bool adds = false) const;
  void norm(const float* x, const float* weight, int64_t rows, float* out) const;
  void prepare_heads(const TransformerLayer& layer, float* qkv, Rows rows, int64_t first_kv_head,
                     int64_t end_kv_head) const;
  void keep(size_t layer, const float* qkv, Rows rows, int64_t first_kv_head, int64_t end_kv_head) const;
  void attend(size_t layer, float* q, int64_t q_stride, Rows rows, int64_t first_kv_head, int64_t end_kv_head,
              Scratch& scratch) const;
  Pages pages_of(size_t layer, const StepSequence& sequence) const;
  template <class F>
  void for_sequences(Rows rows, F f) const;

  Team team_;
  const std::function<void(int)> work_of_thread_;
  // of the step under way
  const Transformer* network_ = nullptr;
  PagePool pool_;
  std::span<const StepSequence> sequences_;
  const Sink* sink_ = nullptr;
  bool by_columns_ = false, straddles_ = false;
  int64_t most_keys_ = 0;
  std::vector<int64_t> starts_, positions_;  // [sequences + 1], [rows]
  // Tokens whose logits are wanted, in the order of their rows.
  struct Wanted {
    int64_t row;
    size_t sequence;
    int64_t index;
  };
  std::vector<Wanted> wanted_;
  std::vector<Rows> shares_;                            // [threads] of the rows
  std::vector<float> x_, heads_, wide_, out_, logits_;  // rows of all threads
  std::vector<Scratch> scratch_;                        // [threads]
};

}  // namespace sluice::model::cpu
