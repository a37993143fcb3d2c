#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime_api.h>

#include <cmath>

#include "base/error.h"
#include "model/kernels/gpu_logits.h"

namespace sluice::model::gpu {
namespace {

constexpr int kThreads = 512, kWarp = 32, kWarps = kThreads / kWarp;

// What a row's log-sum-exp and entropy are made of: relative to `top`, so that nothing overflows.
struct Sums {
  float top;
  float exp;    // sum of e^(z - top)
  float exp_z;  // sum of z e^(z - top)
};

__device__ Sums no_sums() { return {-INFINITY, 0.0f, 0.0f}; }

__device__ void add(Sums& sums, float z) {
  if (z > sums.top) {
    const float shrink = expf(sums.top - z);
    sums = {z, sums.exp * shrink + 1.0f, sums.exp_z * shrink + z};
  } else {
    const float weight = expf(z - sums.top);
    sums.exp += weight;
    sums.exp_z += weight * z;
  }
}

__device__ Sums joined(const Sums& a, const Sums& b) {
  const float top = fmaxf(a.top, b.top);
  const float of_a = a.exp == 0.0f ? 0.0f : expf(a.top - top), of_b = b.exp == 0.0f ? 0.0f : expf(b.top - top);
  return {top, a.exp * of_a + b.exp * of_b, a.exp_z * of_a + b.exp_z * of_b};
}

// Of the first `width` lanes, in the first of them.
__device__ Sums joined_over_lanes(Sums sums, int width) {
  for (int step = width / 2; step > 0; step /= 2) {
    const Sums other{__shfl_down_sync(0xffffffff, sums.top, step), __shfl_down_sync(0xffffffff, sums.exp, step),
                     __shfl_down_sync(0xffffffff, sums.exp_z, step)};
    sums = joined(sums, other);
  }
  return sums;
}

__device__ float capped(float logit, float soft_cap) {
  return soft_cap > 0.0f ? soft_cap * tanhf(logit / soft_cap) : logit;
}

// A block for each row.
__global__ void add_up(const LogitRows rows, const LogitSums sums) {
  const int64_t row = blockIdx.x;
  const float* const logits = rows.logits + row * rows.vocab;
  const auto z = [&](int64_t token) { return capped(logits[token], rows.soft_cap) / rows.temperature; };
  Sums own = no_sums();
  for (int64_t token = threadIdx.x; token < rows.vocab; token += kThreads) add(own, z(token));

  __shared__ Sums of_warps[kWarps];
  own = joined_over_lanes(own, kWarp);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = own;
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  own = joined_over_lanes(threadIdx.x < kWarps ? of_warps[threadIdx.x] : no_sums(), kWarp);
  if (threadIdx.x != 0) return;
  const float lse = own.top + logf(own.exp), of_target = z(rows.targets[row]);
  sums.lse[row] = lse;
  sums.logprobs[row] = of_target - lse;
  sums.entropy[row] = lse - own.exp_z / own.exp;
  sums.is_top[row] = of_target >= own.top;
}

__device__ void put(float* to, float value) { *to = value; }
__device__ void put(__nv_bfloat16* to, float value) { *to = __float2bfloat16(value); }
__device__ void put(__half* to, float value) { *to = __float2half(value); }

// d logprob / d z = [target] - p; d entropy / d z = -p (log p + entropy).
template <class Number>
__global__ void differentiate(const LogitRows rows, const LogitGradients gradients) {
  const int64_t row = blockIdx.x, target = rows.targets[row];
  const float* const logits = rows.logits + row * rows.vocab;
  auto* const to = static_cast<Number*>(gradients.logits) + row * rows.vocab;
  const float lse = gradients.lse[row], of_logprob = gradients.of_logprobs[row];
  const float of_entropy = gradients.of_entropy == nullptr ? 0.0f : gradients.of_entropy[row];
  const float entropy = gradients.entropy[row];
  for (int64_t token = threadIdx.x; token < rows.vocab; token += kThreads) {
    const float within = capped(logits[token], rows.soft_cap);
    const float log_p = within / rows.temperature - lse, p = expf(log_p);
    float gradient = of_logprob * ((token == target ? 1.0f : 0.0f) - p);
    if (of_entropy != 0.0f) gradient -= of_entropy * p * (log_p + entropy);
    gradient /= rows.temperature;
    if (rows.soft_cap > 0.0f) {
      const float tanh = within / rows.soft_cap;
      gradient *= 1.0f - tanh * tanh;
    }
    put(to + token, gradient);
  }
}

void check_launch(const char* kernel) {
  const auto error = cudaGetLastError();
  require(error == cudaSuccess, "gpu: ", kernel, ": ", cudaGetErrorString(error));
}

}  // namespace

void add_up_logits(const LogitRows& rows, const LogitSums& sums, CUstream_st* stream) {
  if (rows.rows == 0) return;
  add_up<<<static_cast<unsigned>(rows.rows), kThreads, 0, stream>>>(rows, sums);
  check_launch("add_up_logits");
}

void differentiate_logits(const LogitRows& rows, const LogitGradients& gradients, CUstream_st* stream) {
  if (rows.rows == 0) return;
  const auto blocks = static_cast<unsigned>(rows.rows);
  const auto kernel = gradients.type == cpu::NumberType::BFloat16  ? differentiate<__nv_bfloat16>
                      : gradients.type == cpu::NumberType::Float16 ? differentiate<__half>
                                                                   : differentiate<float>;
  kernel<<<blocks, kThreads, 0, stream>>>(rows, gradients);
  check_launch("differentiate_logits");
}

}  // namespace sluice::model::gpu
