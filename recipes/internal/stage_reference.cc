#include "recipes/internal/stage_reference.h"

#include "base/error.h"

namespace sluice::recipes {

StageReference::StageReference(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                               const StageStart& start, const MixSpec& mix)
    : mix_(mix) {
  auto network = load_network(find_origin(run, stage, start).model(), recipe);
  flat_ = network->flat();
  policy_ = std::make_unique<reference::ReferencePolicy>(std::move(network));
  if (!moves() || !start.resumed) return;
  const auto moved = load_reference(start.checkpoint);
  require<DataError>(moved.defined(), stage.name, ": ", start.checkpoint.directory.string(),
                     " does not hold the reference, which moves");
  policy_->mix(moved, /*alpha=*/1.0);
}

void StageReference::follow(const model::Network& policy, int64_t done) {
  if (moves() && done % mix_.every == 0) policy_->mix(policy.merged_flat(), mix_.alpha);
}

at::Tensor StageReference::state() const { return moves() ? flat_.cpu() : at::Tensor(); }

}  // namespace sluice::recipes
