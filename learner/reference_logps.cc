#include "learner/reference_logps.h"

#include <ATen/ATen.h>

namespace sluice::learner {

at::Tensor reference_logps(const reference::ReferencePolicy& reference,
                           std::span<const PreferenceExample> examples, const at::Device& device,
                           const ReferenceLogpsOptions& options) {
  const auto packs = pack_preferences(examples, options.micro_batch_tokens, device);
  return of_all_packs(packs, [&](const PreferencePack& pack) {
    const auto logprobs = reference.logprobs(pack.batch, pack.targets, /*temperature=*/1.0);
    return example_logps(pack, logprobs, options.ld_alpha);
  });
}

}  // namespace sluice::learner
