#include <cuda_runtime_api.h>
#include <nccl.h>

#include "base/device_info.h"
#include "base/error.h"

namespace sluice {

namespace {

// CUDA writes 13.0 as 13000 and 12.4 as 12040; 0 is "none".
std::string cuda_version_text(int version) {
  if (version == 0) return "";
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

// NCCL writes 2.28.9 as 22809.
std::string nccl_version_text() {
  int version = 0;
  if (const ncclResult_t status = ncclGetVersion(&version); status != ncclSuccess)
    fail<EnvironmentError>("device_info: NCCL's version: ", ncclGetErrorString(status));
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

void check(cudaError_t status, const char* what) {
  require<EnvironmentError>(status == cudaSuccess, "device_info: ", what, ": ", cudaGetErrorString(status));
}

CudaDevice read_device(int index) {
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, index), "the properties of a CUDA device");
  return {.name = properties.name,
          .memory_bytes = properties.totalGlobalMem,
          .compute_major = properties.major,
          .compute_minor = properties.minor};
}

}  // namespace

DeviceInfo device_info() {
  DeviceInfo info{.built_with_cuda = true, .nccl_version = nccl_version_text()};
  int version = 0;
  check(cudaRuntimeGetVersion(&version), "the version of the CUDA runtime");
  info.runtime_version = cuda_version_text(version);
  check(cudaDriverGetVersion(&version), "the version of the CUDA driver");
  info.driver_version = cuda_version_text(version);

  int count = 0;
  if (const cudaError_t status = cudaGetDeviceCount(&count); status != cudaSuccess) {
    // The error stays with the thread and would come up in somebody else's call.
    (void)cudaGetLastError();
    // Without any driver CUDA complains of one that is too old.
    info.problem =
        info.driver_version.empty() ? "no CUDA driver on this machine" : cudaGetErrorString(status);
    return info;
  }
  for (int index = 0; index < count; ++index) info.devices.push_back(read_device(index));
  if (info.devices.empty()) info.problem = "the driver lists no CUDA device";
  return info;
}

}  // namespace sluice
