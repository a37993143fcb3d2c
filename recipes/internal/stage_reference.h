// The reference of a stage: what the stage began with, and where the recipe says so a part of the policy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

#include "model/network.h"
#include "recipes/internal/stage_context.h"
#include "reference/reference_policy.h"

namespace sluice::recipes {

class StageReference {
 public:
  // Loads what the stage began with, or, of a stage that goes on, what its checkpoint says has become of it.
  // `trained` is the stage's network, which outlives it: of adapters, all that there is to load.
  StageReference(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                 const StageStart& start, const MixSpec& mix, model::Network& trained);

  const reference::ReferencePolicy& policy() const { return *policy_; }
  bool moves() const { return mix_.every > 0; }
  // Mixes the policy in where that is due after so many steps of the stage.
  void follow(const model::Network& policy, int64_t done);
  // What a checkpoint keeps of it, flat; undefined where it does not move.
  at::Tensor state() const;

 private:
  const MixSpec mix_;
  const std::unique_ptr<reference::ReferencePolicy> policy_;
};

}  // namespace sluice::recipes
