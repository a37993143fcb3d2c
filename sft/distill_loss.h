// What a student learns from a teacher's distributions (Hinton 2015; reverse: MiniLLM 2024).
#pragma once

#include <ATen/core/Tensor.h>

namespace sluice::sft {

enum class KlDirection {
  Forward,  // KL(teacher || student): the student covers all that the teacher says
  Reverse,  // KL(student || teacher): it keeps to what the teacher says most
};

struct DistillOptions {
  double temperature = 1.0;
  KlDirection kl = KlDirection::Forward;
  double nll_weight = 0.0;  // of -log p of the data's own tokens, at temperature 1, beside the KL
};

// The two distributions' KL at the temperature, in nats: logits [targets, vocab] before it -> [targets].
// Those of the teacher are constant. Throws Error when the shapes disagree.
at::Tensor distill_kl(const at::Tensor& logits, const at::Tensor& teacher_logits,
                      const DistillOptions& options);

// The weighted sum over a micro-batch's targets of temperature^2 * KL + nll_weight * NLL, divided by
// `step_weight`, the sum of the weights in the whole optimizer step: the square keeps the size of the
// gradient as the temperature rises. `kl` is distill_kl()'s; `logprobs` [targets] are those of the targets.
// Returns a scalar; throws Error when the shapes disagree.
at::Tensor distill_loss(const at::Tensor& kl, const at::Tensor& logprobs, const at::Tensor& weights,
                        double step_weight, const DistillOptions& options);

}  // namespace sluice::sft
