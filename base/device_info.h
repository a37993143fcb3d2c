// Which accelerators this build can use, for `sluice doctor` and for the choice of a device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice {

struct CudaDevice {
  std::string name;
  uint64_t memory_bytes = 0;
  int compute_major = 0;  // "9.0" is major 9, minor 0
  int compute_minor = 0;
};

struct DeviceInfo {
  bool built_with_cuda = false;
  std::string runtime_version;  // of the CUDA runtime that was loaded, "13.0"; empty without CUDA
  std::string driver_version;   // the newest CUDA the driver knows; empty without a driver
  std::string nccl_version;     // "2.28.9"; empty without CUDA
  std::vector<CudaDevice> devices;
  std::string problem;  // why `devices` is empty, else ""
};

// Never throws for a missing GPU or driver: that is what `problem` is for.
DeviceInfo device_info();

}  // namespace sluice
