#include "transport/gloo_collective.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <vector>

#include "base/error.h"
#include "transport/internal/meeting.h"

namespace sluice::transport {
namespace {

std::shared_ptr<::gloo::transport::Device> make_device() {
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME"))
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
}

}  // namespace

struct GlooCollective::Group {
  internal::Meeting meeting;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo = {};
};

GlooCollective::GlooCollective(const RankOptions& options)
    : options_(options), group_(std::make_unique<Group>(internal::Meeting(options))) {
  try {
    auto gloo_options =
        c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(options.timeout_ms));
    gloo_options->devices = {make_device()};
    gloo_options->threads = 1;
    group_->gloo =
        c10::make_intrusive<c10d::ProcessGroupGloo>(group_->meeting.store(), static_cast<int>(options.rank),
                                                    static_cast<int>(options.size), gloo_options);
  } catch (const std::exception& error) {
    fail<EnvironmentError>(group_->meeting.who(), ": ", internal::first_line(error));
  }
}

GlooCollective::~GlooCollective() = default;

void GlooCollective::all_reduce_sum(at::Tensor& tensor) {
  require(tensor.is_cpu() && tensor.is_contiguous(), "GlooCollective: a tensor of ", tensor.sizes(), " on ",
          tensor.device(), " is not contiguous on the CPU");
  const auto sum = group_->meeting.begin();
  try {
    std::vector<at::Tensor> tensors = {tensor};
    const internal::Meeting::Wait wait(group_->meeting);
    group_->gloo->allreduce(tensors)->wait();
  } catch (const std::exception& error) {
    group_->meeting.give_up(
        sum, "sum " + std::to_string(sum.number) + " of " + std::to_string(tensor.numel()) + " numbers",
        error);
  }
}

void GlooCollective::meet() { group_->meeting.wait_for_all(); }

}  // namespace sluice::transport
