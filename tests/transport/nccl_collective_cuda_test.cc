// Sums over GPUs; the twin is gloo_collective_test.cc.
#include <ATen/ATen.h>
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAFunctions.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/spawn_ranks.h"
#include "tests/transport/collective_cases.h"
#include "transport/nccl_collective.h"

namespace sluice::transport {
namespace {

constexpr Millis kStartMs = 60'000;  // of NCCL, which is slow in it

// A skip of these alone is not one of all that needs a GPU, so its words are others.
#define NEEDS_A_GPU_FOR_EACH_OF_TWO_RANKS()                              \
  if (!at::cuda::is_available()) GTEST_SKIP() << "needs a CUDA device";  \
  if (c10::cuda::device_count() < 2)                                     \
  GTEST_SKIP() << "needs two CUDA devices, one for each rank; there is " \
                  "one"

at::Device gpu_of(int64_t rank) { return device_of(at::kCUDA, rank); }

std::unique_ptr<Collective> join_by_nccl(const RankOptions& options) {
  const auto device = gpu_of(options.rank);
  c10::cuda::set_device(device.index());
  return make_nccl_collective(options, device);
}

void spawn_on_gpus(int64_t size, const RunRank& run) { spawn_ranks(size, run, kStartMs, join_by_nccl); }

TEST(CudaNcclCollective, IsWhatItWasOfOneRank) {
  if (!at::cuda::is_available()) GTEST_SKIP() << "needs a CUDA device";
  spawn_on_gpus(1, [](Collective& group) {
    add_over_the_ranks(group, gpu_of(0));
    add_over_the_ranks(group, at::kCPU);  // summed on the GPU, and back
    take_sums_that_were_begun_in_one_order(group, gpu_of(0));
    give_all_what_each_has(group, gpu_of(0));
  });
}

TEST(CudaNcclCollective, AddsOverTheRanks) {
  NEEDS_A_GPU_FOR_EACH_OF_TWO_RANKS();
  spawn_on_gpus(2, [](Collective& group) {
    add_over_the_ranks(group, gpu_of(group.rank()));
    add_over_the_ranks(group, at::kCPU);
  });
}

TEST(CudaNcclCollective, GivesAllWhatEachHas) {
  NEEDS_A_GPU_FOR_EACH_OF_TWO_RANKS();
  spawn_on_gpus(2, [](Collective& group) {
    give_all_what_each_has(group, gpu_of(group.rank()));
    give_all_what_each_has(group, at::kCPU);
  });
}

TEST(CudaNcclCollective, GivesEveryRankTheSameBitsEveryTime) {
  NEEDS_A_GPU_FOR_EACH_OF_TWO_RANKS();
  for (const auto type : {at::kFloat, at::kDouble}) {
    std::vector<at::Tensor> sums(2);
    spawn_on_gpus(2, [&](Collective& group) {
      sums[static_cast<size_t>(group.rank())] = sum_twice(group, gpu_of(group.rank()), type);
    });
    EXPECT_TRUE(at::equal(sums[0], sums[1]));
    const auto expected = numbers_of(0, kSummed, at::kDouble) + numbers_of(1, kSummed, at::kDouble);
    EXPECT_TRUE(at::allclose(sums[0].to(at::kDouble), expected, /*rtol=*/1e-6, /*atol=*/0.5));
  }
}

TEST(CudaNcclCollective, TakesSumsThatWereBegunInOneOrder) {
  NEEDS_A_GPU_FOR_EACH_OF_TWO_RANKS();
  spawn_on_gpus(
      2, [](Collective& group) { take_sums_that_were_begun_in_one_order(group, gpu_of(group.rank())); });
}

TEST(CudaNcclCollective, TellsAllWhatRankZeroSaysAndWhatEachSays) {
  NEEDS_A_GPU_FOR_EACH_OF_TWO_RANKS();
  spawn_on_gpus(2, tell_all_what_rank_zero_says_and_what_each_says);
}

TEST(CudaNcclCollective, NamesTheRankThatDoesNotComeToASum) {
  NEEDS_A_GPU_FOR_EACH_OF_TWO_RANKS();
  name_the_rank_that_does_not_come_to_a_sum(at::kCUDA, /*timeout_ms=*/10'000, join_by_nccl);
}

}  // namespace
}  // namespace sluice::transport
