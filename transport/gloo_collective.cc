#include "transport/gloo_collective.h"

#include <ATen/ATen.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/failpoint.h"
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
  int64_t under_way = 0;  // sums that were begun and not waited for

  void begin_another() const {
    require(under_way == 0, meeting.who(), ": another sum or wait while ", under_way, " are under way");
  }
  // What `start` has Gloo do with the tensor is the `what` that was begun.
  using Start = std::function<c10::intrusive_ptr<c10d::Work>(std::vector<at::Tensor>& tensors)>;
  EndSum begin(const at::Tensor& tensor, const char* what, const internal::Meeting::Begun& begun,
               const Start& start);
  EndSum sum(const at::Tensor& tensor, const internal::Meeting::Begun& begun) {
    return begin(tensor, "sum", begun, [this](auto& tensors) { return gloo->allreduce(tensors); });
  }
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

// Gloo takes what was begun one after another, in a thread of its own.
Collective::EndSum GlooCollective::Group::begin(const at::Tensor& tensor, const char* what,
                                                const internal::Meeting::Begun& begun, const Start& start) {
  require(tensor.is_cpu() && tensor.is_contiguous(), "GlooCollective: a tensor of ", tensor.sizes(), " on ",
          tensor.device(), " is not contiguous on the CPU");
  const auto give_up = [this, begun, what, numbers = tensor.numel()](const std::exception& error) {
    meeting.give_up(
        begun, what + (" " + std::to_string(begun.number)) + " of " + std::to_string(numbers) + " numbers",
        error);
  };
  c10::intrusive_ptr<c10d::Work> work;
  try {
    std::vector<at::Tensor> tensors = {tensor};
    work = start(tensors);
  } catch (const std::exception& error) {
    give_up(error);
  }
  ++under_way;
  return [this, work, give_up] {
    try {
      const internal::Meeting::Wait wait(meeting);
      work->wait();
    } catch (const std::exception& error) {
      give_up(error);
    }
    --under_way;
  };
}

void GlooCollective::all_reduce_sum(at::Tensor& tensor) {
  group_->begin_another();
  group_->sum(tensor, group_->meeting.begin())();
}

Collective::EndSum GlooCollective::begin_sum(at::Tensor tensor) {
  const auto begun = group_->meeting.begin();
  reach(Failpoint::RanksSum, options_.rank);
  return group_->sum(tensor, begun);
}

void GlooCollective::broadcast(at::Tensor& tensor, int64_t root) {
  group_->begin_another();
  const auto begun = group_->meeting.begin();
  reach(Failpoint::RanksBroadcast, options_.rank);
  group_->begin(tensor, "broadcast", begun, [&](auto& tensors) {
    c10d::BroadcastOptions from;
    from.rootRank = root;
    return group_->gloo->broadcast(tensors, from);
  })();
}

void GlooCollective::meet() {
  group_->begin_another();
  group_->meeting.wait_for_all();
}

}  // namespace sluice::transport
