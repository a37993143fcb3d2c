#include "recipes/internal/stage_reference.h"

#include "base/error.h"

namespace sluice::recipes {
namespace {

// Of an adapted policy nothing is loaded: the stage began with the weights that the adapters stand beside.
std::unique_ptr<reference::ReferencePolicy> load_policy(const RunDirectory& run, const Recipe& recipe,
                                                        const StageSpec& stage, const StageStart& start,
                                                        bool moves, model::Network& trained) {
  if (trained.lora() && !moves) return std::make_unique<reference::ReferencePolicy>(trained);
  const auto directory = find_origin(run, stage, start).model();
  if (!stage.offloads_reference) {
    return std::make_unique<reference::ReferencePolicy>(load_network(directory, recipe));
  }
  return std::make_unique<reference::ReferencePolicy>(
      std::make_unique<model::OffloadedNetwork>(directory, device_of(recipe), recipe.model.rounding));
}

}  // namespace

StageReference::StageReference(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                               const StageStart& start, const MixSpec& mix, model::Network& trained)
    : mix_(mix), policy_(load_policy(run, recipe, stage, start, mix.every > 0, trained)) {
  if (!moves() || !start.resumed) return;
  const auto moved = load_reference(start.checkpoint);
  require<DataError>(moved.defined(), stage.name, ": ", start.checkpoint.directory.string(),
                     " does not hold the reference, which moves");
  policy_->mix(moved, /*alpha=*/1.0);
}

void StageReference::follow(const model::Network& policy, int64_t done) {
  if (moves() && done % mix_.every == 0) policy_->mix(policy.merged_flat(), mix_.alpha);
}

at::Tensor StageReference::state() const { return moves() ? policy_->weights().cpu() : at::Tensor(); }

}  // namespace sluice::recipes
