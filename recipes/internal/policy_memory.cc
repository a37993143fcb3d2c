#include "recipes/internal/policy_memory.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace sluice::recipes {
namespace {

constexpr size_t kProbed = 4;  // groups, of each a completion: little beside the step

bool gives_finite_logprobs(const model::Network& network, const learner::TrainingBatch& batch,
                           double temperature) {
  const at::NoGradGuard no_grad;
  learner::TrainingBatch probe;
  probe.max_new_tokens = batch.max_new_tokens;
  for (size_t g = 0; g < std::min(kProbed, batch.groups.size()); ++g) {
    probe.groups.push_back(batch.groups[g]);
    probe.groups.back().completions.resize(1);
    probe.advantages.push_back({0.0});
  }
  for (const auto& micro :
       learner::cut_into_micro_batches(probe, std::numeric_limits<int64_t>::max(), network.device())) {
    const auto out = network.logprobs(micro.batch, micro.targets, temperature);
    if (!out.logprobs.isfinite().all().item<bool>()) return false;
  }
  return true;
}

}  // namespace

learner::StepHealth health_of(const learner::StepFault& fault, const model::Network& network,
                              const learner::TrainingBatch& batch, const learner::StepMetrics& metrics,
                              double temperature) {
  learner::StepHealth health{.skipped = fault.cause, .broken = fault.everywhere ? fault.cause : ""};
  if (!fault.poisoned.empty()) {
    health.skipped += "; quarantined: " + std::to_string(fault.poisoned.size()) + " of its " +
                      std::to_string(batch.groups.size()) + " groups";
  }
  if (!fault.cause.empty()) return health;
  if (const auto kl = metrics.find("kl"); kl != metrics.end()) health.kl = kl->second;
  const auto weights = "the weights after step " + std::to_string(batch.step + 1);
  // One that these completions do not need would spread to all in the next step, and reach a checkpoint.
  if (!std::isfinite(network.trained().flat().sum().item<double>())) {
    health.broken = weights + " are not all finite";
  } else if (!gives_finite_logprobs(network, batch, temperature)) {
    health.broken = weights + " give a completion no finite log-prob";
  }
  return health;
}

std::vector<learner::PoisonedGroup> poisoned_of(const learner::TrainingBatch& batch,
                                                const learner::StepFault& fault) {
  std::vector<learner::PoisonedGroup> poisoned;
  for (const auto& [index, reason] : fault.poisoned) poisoned.push_back({batch.groups[index], reason});
  return poisoned;
}

}  // namespace sluice::recipes
