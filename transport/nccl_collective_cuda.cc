#include <ATen/ATen.h>
#include <stdlib.h>

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#include <vector>

#include "base/error.h"
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
    require(tensor.is_contiguous(), "NcclCollective: a tensor of ", tensor.sizes(), " is not contiguous");
    const auto sum = meeting_.begin();
    try {
      const internal::Meeting::Wait wait(meeting_);
      std::vector<at::Tensor> tensors = {tensor.to(device_)};
      const auto work = nccl_->allreduce(tensors);
      work->wait(std::chrono::milliseconds(options_.timeout_ms));
      work->synchronize();
      if (tensor.device() != device_) tensor.copy_(tensors.front());
    } catch (const std::exception& error) {
      meeting_.give_up(
          sum, "sum " + std::to_string(sum.number) + " of " + std::to_string(tensor.numel()) + " numbers",
          error);
    }
  }

  void meet() override { meeting_.wait_for_all(); }

 private:
  const RankOptions options_;
  const at::Device device_;
  internal::Meeting meeting_;
  c10::intrusive_ptr<c10d::ProcessGroupNCCL> nccl_;
};

}  // namespace

std::unique_ptr<Collective> make_nccl_collective(const RankOptions& options, const at::Device& device) {
  return std::make_unique<NcclCollective>(options, device);
}

}  // namespace sluice::transport
