#include "learner/internal/rank_values.h"

#include <ATen/ATen.h>

namespace sluice::learner::internal {

void share_values(transport::Collective& ranks, std::vector<StepUpdate>& updates,
                  at::Tensor StepPart::*of_part, bool ends) {
  if (ranks.size() == 1) return;
  const auto count_of = [ends](const StepPart& part) {
    return ends ? part.micro.end_rows.numel() : part.micro.targets.rows.numel();
  };
  const auto for_each_stretch = [&](const auto& visit) {
    int64_t first = 0;
    for (auto& update : updates) {
      for (auto& part : update.parts) {
        visit(part, first, count_of(part));
        first += count_of(part);
      }
    }
    return first;
  };
  const int64_t total = for_each_stretch([](StepPart&, int64_t, int64_t) {});
  at::Tensor all;
  for_each_stretch([&](StepPart& part, int64_t first, int64_t count) {
    if (!all.defined()) all = at::zeros({total}, part.micro.behaviour_logprobs.options());
    if (part.micro.rank == ranks.rank()) all.narrow(0, first, count).copy_(part.*of_part);
  });
  if (total > 0) ranks.all_reduce_sum(all);  // with zeros: exact
  for_each_stretch(
      [&](StepPart& part, int64_t first, int64_t count) { part.*of_part = all.narrow(0, first, count); });
}

}  // namespace sluice::learner::internal
