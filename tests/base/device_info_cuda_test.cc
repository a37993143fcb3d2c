#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <nccl.h>

#include "base/device_info.h"

namespace sluice {
namespace {

TEST(CudaDeviceInfo, MatchesTheHeadersItWasBuiltWith) {
  const DeviceInfo info = device_info();
  if (info.devices.empty()) GTEST_SKIP() << "needs a CUDA device: " << info.problem;

  EXPECT_TRUE(info.built_with_cuda);
  EXPECT_EQ(info.runtime_version,
            std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10));
  EXPECT_EQ(info.nccl_version,
            std::to_string(NCCL_MAJOR) + "." + std::to_string(NCCL_MINOR) + "." + std::to_string(NCCL_PATCH));
}

TEST(CudaDeviceInfo, ListsWhatTheRuntimeCounts) {
  const DeviceInfo info = device_info();
  if (info.devices.empty()) GTEST_SKIP() << "needs a CUDA device: " << info.problem;

  int count = 0;
  ASSERT_EQ(cudaGetDeviceCount(&count), cudaSuccess);
  ASSERT_EQ(info.devices.size(), static_cast<size_t>(count));
  size_t free_bytes = 0;
  size_t total_bytes = 0;
  ASSERT_EQ(cudaMemGetInfo(&free_bytes, &total_bytes), cudaSuccess);
  EXPECT_EQ(info.devices[0].memory_bytes, total_bytes);
  EXPECT_FALSE(info.devices[0].name.empty());
  EXPECT_GE(info.devices[0].compute_major, 7);
}

}  // namespace
}  // namespace sluice
