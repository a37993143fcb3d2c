// Loops over float32 in memory, compiled for several instruction sets; the best this processor has is chosen.
//
// All of them run on the calling thread and add up in an order that depends on the shapes alone.
#pragma once

#include <cstdint>
#include <limits>

namespace sluice::model::cpu {

// Keys and values of a layer, a page for kPageTokens tokens. For each key head a page holds the keys,
// transposed [head_dim, kPageTokens], and the values [kPageTokens, value_dim].
inline constexpr int64_t kPageTokens = 16;
struct Pages {
  float* pool = nullptr;
  const int32_t* ids = nullptr;         // of a sequence's pages in the pool; null: 0, 1, 2, ...
  int64_t page_size = 0;                // numbers
  int64_t head_dim = 0, value_dim = 0;  // multiples of kHeadDimStep

  float* at(int64_t index) const { return pool + (ids == nullptr ? index : ids[index]) * page_size; }
};
inline constexpr int64_t kHeadDimStep = 16;

// Rows whose keys and values go to the places from first_place on, for the key heads first .. end - 1.
struct PageWrite {
  const float* k = nullptr;  // rows are k_stride apart, heads k_head_stride
  const float* v = nullptr;
  int64_t k_stride = 0, v_stride = 0;
  int64_t k_head_stride = 0, v_head_stride = 0;
  int64_t rows = 0, first_place = 0;
  int64_t first_kv_head = 0, end_kv_head = 0;
};

// Queries of one sequence: query i has the place first_place + i and sees what is not behind it, at most
// `window` keys. Query head h reads the key head h / (heads / kv_heads).
struct AttentionRows {
  const float* q = nullptr;  // first query; rows are q_stride apart, heads q_head_stride
  int64_t q_stride = 0, q_head_stride = 0;
  int64_t num_queries = 0, first_place = 0;
  int64_t heads = 0, kv_heads = 0;
  int64_t first_kv_head = 0, end_kv_head = 0;  // only these and the query heads that read them
  float scale = 1;
  float soft_cap = 0;    // 0: none
  int64_t window = 0;    // keys a query sees, at least 1
  float* out = nullptr;  // rows are out_stride apart, heads value_dim; may be q where both are alike
  int64_t out_stride = 0;
  float* lse = nullptr;      // [num_queries, heads], written forward unless null, read backward
  float* scratch = nullptr;  // attention_scratch() or backward_scratch() numbers
};
int64_t attention_scratch(int64_t num_keys);

struct KeyRun {
  int64_t first_row = 0;
  int64_t count = 0;
};

// The backward of a sequence whose keys and values are rows: those of the runs, in order, have the places 0,
// 1, ...
struct AttentionBackward {
  AttentionRows rows;        // out [num_queries, heads, value_dim] and lse are read
  const float* k = nullptr;  // row 0 of all keys
  const float* v = nullptr;
  int64_t k_stride = 0, v_stride = 0;
  int64_t k_head_stride = 0, v_head_stride = 0;
  int64_t num_keys = 0;
  const KeyRun* runs = nullptr;
  int64_t num_runs = 0;
  int64_t head_dim = 0, value_dim = 0;
};
int64_t backward_scratch(int64_t num_keys, int64_t head_dim, int64_t value_dim);

// Where the gradients go, heads side by side: q's is written, k's and v's are added to.
struct AttentionGrads {
  const float* out = nullptr;  // [num_queries, heads, value_dim]
  float* q = nullptr;          // first query
  float* k = nullptr;          // row 0 of all keys
  float* v = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
};

// What numbers of float32 are rounded to before they are multiplied: the nearest of that type, ties to even.
// What is too large for float16 becomes infinite.
enum class NumberType : uint8_t { Float32, BFloat16, Float16 };

// What the weights of a product are stored as: numbers are computed in float32 from any. Parts are float32 as
// sums of three numbers of bfloat16 (tiles.h).
enum class WeightType : uint8_t { Float32, BFloat16, Float16, Int8, Parts };
constexpr int64_t size_of(WeightType type) {
  switch (type) {
    case WeightType::Float32:
      return 4;
    case WeightType::BFloat16:
    case WeightType::Float16:
      return 2;
    case WeightType::Int8:
      return 1;
    case WeightType::Parts:
      return 6;
  }
  return 0;
}

// Weights [columns, depth] in the order in which products read them: panels of 16 columns, zeros where there
// are none, each [panel_depth, 16]. Of bfloat16, the numbers k and k + 1 of a column stand side by side.
inline constexpr int64_t kPanelColumns = 16;
constexpr int64_t panel_depth(int64_t depth) { return depth + depth % 2; }
int64_t packed_size(int64_t columns, int64_t depth);
void pack(const float* weight, int64_t columns, int64_t depth, float* panels);
void pack(const uint16_t* weight, int64_t columns, int64_t depth, uint16_t* panels);
void pack(const float* weight, int64_t columns, int64_t depth, uint16_t* panels);  // rounded to the nearest
struct Float16 {
  uint16_t bits;
};
void pack(const float* weight, int64_t columns, int64_t depth, Float16* panels);
// Rounds to 8 bits: a column's weights are its numbers, -127 .. 127, times its scale, which the largest of
// them sets. Weights that are not finite are an Error.
void pack(const float* weight, int64_t columns, int64_t depth, int8_t* panels, float* scales);

// out[row][column] = sum over k of x[row][k] * weight[column][k], times the column's scale, with its bias
// added, and all that added to what stands there.
struct MatmulCall {
  const float* x = nullptr;  // rows are x_stride apart
  int64_t x_stride = 0, rows = 0, depth = 0, columns = 0;
  NumberType rounds_to = NumberType::Float32;  // x, as it is read
  const void* panels = nullptr;                // as `type` says, from the start of a cache line on
  WeightType type = WeightType::Float32;
  const float* scales = nullptr;  // [columns] of Int8
  const float* bias = nullptr;    // [columns] or null
  bool adds = false;
  float* out = nullptr;  // rows are out_stride apart
  int64_t out_stride = 0;
};

// Numbers [depth, columns], rows `stride` apart, as panels of the same product: those of weights that stand
// the other way round, rounded. turned_type() says as what, for a product that rounds x so.
WeightType turned_type(NumberType x_rounds_to);
void pack_turned(const float* numbers, int64_t stride, int64_t depth, int64_t columns, NumberType rounds_to,
                 WeightType type, void* panels);

// out[i][j] += sum over rows of a[row][i] * b[row][j], in chunks of at most kOuterRows rows.
inline constexpr int64_t kOuterRows = 256;
struct OuterCall {
  NumberType rounds_to = NumberType::Float32;  // both, as they are read
  const float *a = nullptr, *b = nullptr;      // rows are a_stride and b_stride apart
  int64_t a_stride = 0, b_stride = 0;
  int64_t a_columns = 0, b_columns = 0, rows = 0;
  float* out = nullptr;  // rows are out_stride apart
  int64_t out_stride = 0;
  float* scratch = nullptr;  // outer_scratch() numbers, from the start of a cache line on
};
int64_t outer_scratch(int64_t a_columns, int64_t b_columns);

// A row of logits on its way to a token. A mass is e^(z - top): a probability but for the factor 1 / total.
inline constexpr int64_t kLogitBlock = 512, kLogitLanes = 16;
constexpr int64_t num_logit_blocks(int64_t width) { return (width + kLogitBlock - 1) / kLogitBlock; }
struct LogitRow {
  float* z = nullptr;  // [width]
  int64_t width = 0;
  float* tops = nullptr;       // [num_logit_blocks] largest logit of each block
  float* lane_tops = nullptr;  // [num_logit_blocks, kLogitLanes] of every kLogitLanes-th logit of a block
  float* masses = nullptr;     // [num_logit_blocks] of each block, under its own top until draw_logit()
  float top = 0;
  float lse = 0;  // as log_sum_exp() says; not finite where a logit is NaN or infinite, or all are -inf
  double total = 0;
};

// Of some logits of a row: the largest, and under it the sums of their masses and of mass * (z - top).
struct LogitSums {
  float top = std::numeric_limits<float>::lowest();
  double total = 0, weighted = 0;
};
// Not finite where a logit is NaN or infinite, or all are -inf.
float log_sum_exp(const LogitSums& sums);
float mean_logit(const LogitSums& sums);  // under the softmax

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
  // -1. Rows of x are x_stride apart; `out` may be x where its rows are not.
  void (*rope)(const float* x, int64_t x_stride, const float* cos, const float* sin, const int64_t* positions,
               int64_t rows, int64_t heads, int64_t all_heads, int64_t head_dim, int64_t half,
               float direction, float* out);
  // Adds the next `width` logits of each row to its sums [rows]: whole blocks, but for a row's last ones. The
  // bits do not depend on how many come at once. Logits may be -inf. AVX2 and AVX-512 get the same bits.
  void (*add_logits)(const float* z, int64_t rows, int64_t width, LogitSums* sums);
  // z, which begins with the logits of the token `first`, becomes scale[row] * (softmax(z) - onehot(target)).
  void (*softmax_grad)(float* z, const float* lse, const float* scale, const int64_t* targets, int64_t first,
                       int64_t rows, int64_t width);
  // out[index[i]] += x[i]
  void (*add_rows)(const float* x, const int64_t* index, int64_t rows, int64_t width, float* out);
  void (*store_pages)(const PageWrite& write, const Pages& pages);
  void (*attention)(const AttentionRows& rows, const Pages& pages);
  void (*attention_backward)(const AttentionBackward& call, const AttentionGrads& grads);
  // The same bits for a row whatever the other rows and columns of the call. Parts: with tiles alone.
  void (*matmul)(const MatmulCall& call);
  // The same bits for a number of the result whatever the other columns of the call.
  void (*outer)(const OuterCall& call);
  // z becomes z / temperature, and the rest of the row is filled in.
  void (*weigh_logits)(LogitRow& row, float temperature);
  // The first token, in the order of ids, behind which the share of the mass is above `uniform`, in [0, 1);
  // none that has no mass. Once for a weighed row.
  int64_t (*draw_logit)(const LogitRow& row, double uniform);
  // Writes the logits of a weighed row that are not below the threshold, and their ids, in the order of ids;
  // returns how many. There must be room for the whole row.
  int64_t (*logits_from)(const LogitRow& row, float threshold, float* logits, int32_t* ids);
  // e^(z - top), z not above top.
  void (*logit_masses)(const float* z, int64_t count, float top, float* masses);
};

// The widest this processor has, unless use_kernels() said otherwise.
const Kernels& kernels();

// Narrow: what every processor of its kind has. Tiles: products by AMX, the rest by AVX-512.
enum class InstructionSet { Narrow, Avx2, Avx512, Tiles };
bool has(InstructionSet set);
// For tests; the set must be there.
void use_kernels(InstructionSet set);

}  // namespace sluice::model::cpu
