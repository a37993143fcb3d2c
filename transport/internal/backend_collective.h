// What one of c10d's backends does for the ranks of a learner.
#pragma once

#include <cstdint>
#include <functional>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <vector>

#include "transport/collective.h"
#include "transport/internal/meeting.h"

namespace sluice::transport::internal {

// What lies on another device than the backend's goes there and comes back, but for begin_sum().
class BackendCollective final : public Collective {
 public:
  using MakeBackend =
      std::function<c10::intrusive_ptr<c10d::Backend>(const c10::intrusive_ptr<c10d::Store>& store)>;
  using EndWork = std::function<void(c10d::Work& work)>;

  // Returns when all ranks are there. Throws UsageError for a rank outside the group, EnvironmentError naming
  // the ranks that have not come in time or saying why there is no backend. `end` waits for what was begun.
  BackendCollective(const RankOptions& options, const at::Device& device, const MakeBackend& make,
                    EndWork end);

  int64_t rank() const override { return options_.rank; }
  int64_t size() const override { return options_.size; }
  void all_reduce_sum(at::Tensor& tensor) override;
  EndSum begin_sum(at::Tensor tensor) override;
  void broadcast(at::Tensor& tensor, int64_t root) override;
  void meet() override;

 private:
  using BeginWork = std::function<c10::intrusive_ptr<c10d::Work>(std::vector<at::Tensor>& tensors)>;

  // What `begin` has the backend do with the tensor is the `what` that was begun.
  EndSum start(const at::Tensor& tensor, const char* what, const Meeting::Begun& begun,
               const BeginWork& begin);
  EndSum sum(const at::Tensor& tensor, const Meeting::Begun& begun);
  void require_none_under_way() const;

  const RankOptions options_;
  const at::Device device_;
  const EndWork end_;
  Meeting meeting_;
  c10::intrusive_ptr<c10d::Backend> backend_;
  int64_t under_way_ = 0;  // sums that were begun and not waited for
};

}  // namespace sluice::transport::internal
