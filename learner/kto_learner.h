// Learns from completions that are good or bad by themselves (KTO 2024; spec section 9.4).
#pragma once

#include <cstdint>
#include <span>

#include "learner/kto_loss.h"
#include "learner/policy_learner.h"
#include "learner/preference_batch.h"
#include "learner/reference_logps.h"
#include "model/network.h"
#include "optim/optimizer.h"

namespace sluice::learner {

struct KtoLearnerOptions {
  KtoLossOptions loss;
  bool has_z0 = true;                  // else z0 is 0: APO-zero of unpaired examples
  int64_t max_length = 1024;           // of a prompt with another example's completion, which is cut to that
  int64_t micro_batch_tokens = 16384;  // rows of one forward
  double router_aux_loss = 0.0;        // times the experts' balancing loss in the loss; 0: left out
};

// Each example's prompt with the completion of the one before it, the first with the last one's, of at most
// `max_length` tokens, but with one that counts. They are of no row of the data.
std::vector<PreferenceExample> mismatched(std::span<const PreferenceExample> examples, int64_t max_length);

// Network and optimizer outlive it; not safe from several threads at once.
class KtoLearner {
 public:
  // `reference` is asked once a step for its examples and, with z0, once for the mismatched ones. Throws
  // Error for options that make no sense.
  KtoLearner(model::Network& network, optim::Optimizer& optimizer, ReferenceLogps reference,
             const KtoLearnerOptions& options);

  // One update from these examples, at least two where there is a z0, which is of the whole step: the
  // gradient is the same however they are packed.
  //
  // loss, kl (z0), rewards/{chosen,rejected}, logps/{chosen,rejected} and logits/{chosen,rejected} (as
  // PreferenceLearner's) of the desirable and undesirable, omitted where there are none, rewards/margins of
  // both, entropy, num_tokens (of the examples), grad_norm, learning_rate, those of Optimizer::metrics(), and
  // aux_loss of a network with experts. Throws DataError for no examples and as pack_preferences() does.
  StepMetrics step(std::span<const PreferenceExample> examples);

 private:
  double z0_of(std::span<const PreferenceExample> examples) const;

  model::Network& network_;
  optim::Optimizer& optimizer_;
  const ReferenceLogps reference_;
  const KtoLearnerOptions options_;
};

}  // namespace sluice::learner
