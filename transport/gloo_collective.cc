#include "transport/gloo_collective.h"

#include <chrono>
#include <cstdlib>
#include <memory>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "transport/internal/backend_collective.h"

namespace sluice::transport {
namespace {

std::shared_ptr<::gloo::transport::Device> make_device() {
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"))
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
}

}  // namespace

std::unique_ptr<Collective> make_gloo_collective(const RankOptions& options) {
  const auto make = [&](const c10::intrusive_ptr<c10d::Store>& store) {
    auto gloo_options =
        c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(options.timeout_ms));
    gloo_options->devices = {make_device()};
    gloo_options->threads = 1;
    return c10::make_intrusive<c10d::ProcessGroupGloo>(store, static_cast<int>(options.rank),
                                                       static_cast<int>(options.size), gloo_options);
  };
  const auto end = [](c10d::Work& work) { work.wait(); };
  return std::make_unique<internal::BackendCollective>(options, at::kCPU, make, end);
}

}  // namespace sluice::transport
