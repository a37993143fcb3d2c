#include "base/device_info.h"

#include <gtest/gtest.h>

namespace sluice {
namespace {

TEST(DeviceInfo, SaysWhyThereIsNoDeviceExactlyWhenThereIsNone) {
  const DeviceInfo info = device_info();

  EXPECT_EQ(info.devices.empty(), !info.problem.empty());
}

TEST(DeviceInfo, NamesVersionsExactlyInABuildWithCuda) {
  const DeviceInfo info = device_info();

  EXPECT_EQ(info.runtime_version.empty(), !info.built_with_cuda);
  EXPECT_EQ(info.nccl_version.empty(), !info.built_with_cuda);
}

}  // namespace
}  // namespace sluice
