#include <ATen/ATen.h>
#include <stdlib.h>

#include <chrono>
#include <functional>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/failpoint.h"
#include "transport/internal/meeting.h"
#include "transport/nccl_collective.h"

namespace sluice::transport {
namespace {

class NcclCollective final : public Collective {
 public:
  NcclCollective(const RankOptions& options, const at::Device& device)
      : options_(options), device_(device), meeting_(options) {
    ::setenv("TORCH_NCCL_BLOCKING_WAIT", "1", /*overwrite=*/0);  // a late rank is an error here, not an abort
    auto nccl_options = c10d::ProcessGroupNCCL::Options::create();
    nccl_options->timeout = std::chrono::milliseconds(options.timeout_ms);
    try {
      nccl_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(meeting_.store(), static_cast<int>(options.rank),
                                                          static_cast<int>(options.size), nccl_options);
    } catch (const std::exception& error) {
      fail<EnvironmentError>(meeting_.who(), ": ", internal::first_line(error));
    }
  }

  int64_t rank() const override { return options_.rank; }
  int64_t size() const override { return options_.size; }

  void all_reduce_sum(at::Tensor& tensor) override {
    begin_another();
    auto there = tensor.to(device_);
    sum(there, meeting_.begin())();
    if (tensor.device() != device_) tensor.copy_(there);
  }

  EndSum begin_sum(at::Tensor tensor) override {
    const auto begun = meeting_.begin();
    reach(Failpoint::RanksSum, options_.rank);
    return sum(tensor, begun);
  }

  void broadcast(at::Tensor& tensor, int64_t root) override {
    begin_another();
    auto there = tensor.to(device_);
    const auto begun = meeting_.begin();
    reach(Failpoint::RanksBroadcast, options_.rank);
    begin(there, "broadcast", begun, [&](auto& tensors) {
      c10d::BroadcastOptions from;
      from.rootRank = root;
      return nccl_->broadcast(tensors, from);
    })();
    if (tensor.device() != device_) tensor.copy_(there);
  }

  void meet() override {
    begin_another();
    meeting_.wait_for_all();
  }

 private:
  using Start = std::function<c10::intrusive_ptr<c10d::Work>(std::vector<at::Tensor>& tensors)>;

  EndSum sum(const at::Tensor& tensor, const internal::Meeting::Begun& begun) {
    return begin(tensor, "sum", begun, [this](auto& tensors) { return nccl_->allreduce(tensors); });
  }

  // NCCL's stream waits for what the current one has been given, and does beside it what `start` has it do.
  EndSum begin(const at::Tensor& tensor, const char* what, const internal::Meeting::Begun& begun,
               const Start& start) {
    require(tensor.is_contiguous() && tensor.device() == device_, "NcclCollective: a tensor of ",
            tensor.sizes(), " on ", tensor.device(), " is not contiguous on ", device_);
    const auto give_up = [this, begun, what, numbers = tensor.numel()](const std::exception& error) {
      meeting_.give_up(
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
    ++under_way_;
    return [this, work, give_up] {
      try {
        const internal::Meeting::Wait wait(meeting_);
        work->wait(std::chrono::milliseconds(options_.timeout_ms));
        work->synchronize();
      } catch (const std::exception& error) {
        give_up(error);
      }
      --under_way_;
    };
  }

  void begin_another() const {
    require(under_way_ == 0, meeting_.who(), ": another sum or wait while ", under_way_, " are under way");
  }

  const RankOptions options_;
  const at::Device device_;
  internal::Meeting meeting_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl_;
  int64_t under_way_ = 0;  // sums that were begun and not waited for
};

}  // namespace

std::unique_ptr<Collective> make_nccl_collective(const RankOptions& options, const at::Device& device) {
  return std::make_unique<NcclCollective>(options, device);
}

}  // namespace sluice::transport
