// Loops over float32 in memory, compiled for several instruction sets; the best this processor has is chosen.
//
// All of them run on the calling thread and add up in an order that depends on the shapes alone.
#pragma once

#include <cstdint>

namespace sluice::model::cpu {

struct KeyRun {
  int64_t first_row = 0;
  int64_t count = 0;
};

// One sequence of an attention call; see AttentionPlan.
struct AttentionCall {
  const float* q = nullptr;  // first query; rows are q_stride apart, heads q_head_stride
  const float* k = nullptr;  // row 0 of all keys, likewise
  const float* v = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  int64_t q_head_stride = 0, k_head_stride = 0, v_head_stride = 0;
  int64_t num_queries = 0, first_place = 0, num_keys = 0;
  const KeyRun* runs = nullptr;
  int64_t num_runs = 0;
  int64_t heads = 0, kv_heads = 0;
  int64_t head_dim = 0, value_dim = 0;  // multiples of kHeadDimStep
  float scale = 1;
  float soft_cap = 0;        // 0: none
  int64_t window = 0;        // keys a query sees, at least 1
  float* out = nullptr;      // [num_queries, heads, value_dim], written forward, read backward
  float* lse = nullptr;      // [num_queries, heads], likewise
  float* scratch = nullptr;  // attention_scratch() numbers
};

// Where the gradients go, heads side by side: q's is written, k's and v's are added to.
struct AttentionGrads {
  const float* out = nullptr;  // [num_queries, heads, value_dim]
  float* q = nullptr;          // first query
  float* k = nullptr;          // row 0 of all keys
  float* v = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
};

inline constexpr int64_t kHeadDimStep = 16;
// Enough for the forward and the backward of sequences of at most `num_keys` keys.
int64_t attention_scratch(int64_t num_keys, int64_t heads, int64_t head_dim, int64_t value_dim);

// Weights [columns, depth] in the order in which products read them: panels of 16 columns, zeros where there
// are none, each [depth, 16]. Of bfloat16, the columns j and j + 8 of a panel stand side by side.
inline constexpr int64_t kPanelColumns = 16;
int64_t packed_size(int64_t columns, int64_t depth);
void pack(const float* weight, int64_t columns, int64_t depth, float* panels);
void pack(const uint16_t* weight, int64_t columns, int64_t depth, uint16_t* panels);

// out[row][column] = sum over k of x[row][k] * weight[column][k]
struct MatmulCall {
  const float* x = nullptr;  // rows are x_stride apart
  int64_t x_stride = 0, rows = 0, depth = 0, columns = 0;
  const void* panels = nullptr;  // float, or uint16_t where `halves`
  bool halves = false;           // bfloat16
  float* out = nullptr;          // rows are out_stride apart
  int64_t out_stride = 0;
};

struct Kernels {
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t rows, int64_t width, float* out,
                   float* inverse_rms);
  // grad_weight [width] is added to; scratch has `width` numbers.
  void (*rms_norm_backward)(const float* grad, const float* x, const float* weight, const float* inverse_rms,
                            int64_t rows, int64_t width, float* grad_x, float* grad_weight, float* scratch);
  void (*swiglu)(const float* gate_up, int64_t rows, int64_t width, float* out);
  void (*swiglu_backward)(const float* grad, const float* gate_up, int64_t rows, int64_t width, float* out);
  // The same with the tanh form of GELU.
  void (*gelu_gated)(const float* gate_up, int64_t rows, int64_t width, float* out);
  void (*gelu_gated_backward)(const float* grad, const float* gate_up, int64_t rows, int64_t width,
                              float* out);
  // z becomes cap * tanh(z / cap).
  void (*soft_cap)(float* z, int64_t count, float cap);
  // Rotates the first 2 * half numbers of `heads` of `all_heads` heads and copies the rest; direction 1 or
  // -1. Rows of x are x_stride apart.
  void (*rope)(const float* x, int64_t x_stride, const float* cos, const float* sin, const int64_t* positions,
               int64_t rows, int64_t heads, int64_t all_heads, int64_t head_dim, int64_t half,
               float direction, float* out);
  // Log-sum-exp of each row and, unless null, the mean of the row under its softmax.
  void (*log_sum_exp)(const float* z, int64_t rows, int64_t width, float* lse, float* mean);
  // z becomes scale[row] * (softmax(z) - onehot(target)).
  void (*softmax_grad)(float* z, const float* lse, const float* scale, const int64_t* targets, int64_t rows,
                       int64_t width);
  // out[index[i]] += x[i]
  void (*add_rows)(const float* x, const int64_t* index, int64_t rows, int64_t width, float* out);
  void (*attention)(const AttentionCall& call);
  void (*attention_backward)(const AttentionCall& call, const AttentionGrads& grads);
  // The same bits for a row whatever the other rows and columns of the call.
  void (*matmul)(const MatmulCall& call);
};

// The best this processor has, unless use_kernels() said otherwise.
const Kernels& kernels();

enum class InstructionSet { Narrow, Avx2, Avx512 };  // Narrow: what every processor of its kind has
bool has(InstructionSet set);
// For tests; the set must be there.
void use_kernels(InstructionSet set);

}  // namespace sluice::model::cpu
