#include "sft/distill_loss.h"

#include <ATen/ATen.h>

#include "base/error.h"
#include "sft/supervised_loss.h"

namespace sluice::sft {
namespace {

at::Tensor kl_of(const at::Tensor& log_p, const at::Tensor& log_q) {
  return (log_p.exp() * (log_p - log_q)).sum(-1);
}

}  // namespace

at::Tensor distill_kl(const at::Tensor& logits, const at::Tensor& teacher_logits,
                      const DistillOptions& options) {
  require(logits.dim() == 2 && logits.sizes() == teacher_logits.sizes(), "distill_kl: logits are ",
          logits.sizes(), ", the teacher's ", teacher_logits.sizes());
  require(options.temperature > 0.0, "distill_kl: a temperature of ", options.temperature);
  const auto student = (logits / options.temperature).log_softmax(-1);
  const auto teacher = (teacher_logits.detach() / options.temperature).log_softmax(-1);
  return options.kl == KlDirection::Forward ? kl_of(teacher, student) : kl_of(student, teacher);
}

at::Tensor distill_loss(const at::Tensor& kl, const at::Tensor& logprobs, const at::Tensor& weights,
                        double step_weight, const DistillOptions& options) {
  require(kl.sizes() == weights.sizes(), "distill_loss: kl is ", kl.sizes(), ", weights is ",
          weights.sizes());
  const double scale = options.temperature * options.temperature / step_weight;
  const auto loss = (weights * kl).sum() * scale;
  if (options.nll_weight == 0.0) return loss;
  return loss + supervised_loss(logprobs, weights, step_weight) * options.nll_weight;
}

}  // namespace sluice::sft
