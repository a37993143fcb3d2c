#include "transport/internal/backend_collective.h"

#include <ATen/ATen.h>

#include <string>
#include <utility>

#include "base/error.h"
#include "base/failpoint.h"

namespace sluice::transport::internal {

BackendCollective::BackendCollective(const RankOptions& options, const at::Device& device,
                                     const MakeBackend& make, EndWork end)
    : options_(options), device_(device), end_(std::move(end)), meeting_(options) {
  try {
    backend_ = make(meeting_.store());
  } catch (const std::exception& error) {
    fail<EnvironmentError>(meeting_.who(), ": ", first_line(error));
  }
}

void BackendCollective::all_reduce_sum(at::Tensor& tensor) {
  require_none_under_way();
  auto there = tensor.to(device_);
  sum(there, meeting_.begin())();
  if (tensor.device() != device_) tensor.copy_(there);
}

Collective::EndSum BackendCollective::begin_sum(at::Tensor tensor) {
  const auto begun = meeting_.begin();
  reach(Failpoint::RanksSum, options_.rank);
  return sum(tensor, begun);
}

void BackendCollective::broadcast(at::Tensor& tensor, int64_t root) {
  require_none_under_way();
  auto there = tensor.to(device_);
  const auto begun = meeting_.begin();
  reach(Failpoint::RanksBroadcast, options_.rank);
  start(there, "broadcast", begun, [&](auto& tensors) {
    c10d::BroadcastOptions from;
    from.rootRank = root;
    return backend_->broadcast(tensors, from);
  })();
  if (tensor.device() != device_) tensor.copy_(there);
}

void BackendCollective::meet() {
  require_none_under_way();
  meeting_.wait_for_all();
}

// Backends take what was begun one after another, beside this thread: in one of their own or in a stream.
Collective::EndSum BackendCollective::start(const at::Tensor& tensor, const char* what,
                                            const Meeting::Begun& begun, const BeginWork& begin) {
  require(tensor.is_contiguous() && tensor.device() == device_, meeting_.who(), ": a tensor of ",
          tensor.sizes(), " on ", tensor.device(), " is not contiguous on ", device_);
  const auto give_up = [this, begun, what, numbers = tensor.numel()](const std::exception& error) {
    meeting_.give_up(
        begun, what + (" " + std::to_string(begun.number)) + " of " + std::to_string(numbers) + " numbers",
        error);
  };
  c10::intrusive_ptr<c10d::Work> work;
  try {
    std::vector<at::Tensor> tensors = {tensor};
    work = begin(tensors);
  } catch (const std::exception& error) {
    give_up(error);
  }
  ++under_way_;
  return [this, work, give_up] {
    try {
      const Meeting::Wait wait(meeting_);
      end_(*work);
    } catch (const std::exception& error) {
      give_up(error);
    }
    --under_way_;
  };
}

Collective::EndSum BackendCollective::sum(const at::Tensor& tensor, const Meeting::Begun& begun) {
  return start(tensor, "sum", begun, [this](auto& tensors) { return backend_->allreduce(tensors); });
}

void BackendCollective::require_none_under_way() const {
  require(under_way_ == 0, meeting_.who(), ": another sum, broadcast or wait while ", under_way_,
          " are under way");
}

}  // namespace sluice::transport::internal
