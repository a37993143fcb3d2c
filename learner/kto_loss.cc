#include "learner/kto_loss.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace sluice::learner {
namespace {

void check_inputs(const KtoLossInputs& in, double z0, int64_t step_examples, const KtoLossOptions& options) {
  const auto check = [&](const at::Tensor& tensor, const char* name) {
    require(tensor.defined(), "kto_loss: there is no ", name);
    require(tensor.dim() == 1 && tensor.sizes() == in.policy_logps.sizes(), "kto_loss: ", name, " is ",
            tensor.sizes(), ", policy_logps is ", in.policy_logps.sizes());
  };
  check(in.policy_logps, "policy_logps");
  check(in.ref_logps, "ref_logps");
  check(in.desirable, "desirable");
  require(in.desirable.scalar_type() == at::kBool, "kto_loss: desirable has type ",
          in.desirable.dtype().name(), ", it is bool");
  require(std::isfinite(z0) && z0 >= 0.0, "kto_loss: z0 is ", z0, ", it is not negative");
  require(step_examples > 0 && step_examples >= in.policy_logps.numel(),
          "kto_loss: ", in.policy_logps.numel(), " examples of a step of ", step_examples);
  require(std::isfinite(options.beta) && options.beta > 0.0, "kto_loss: beta is ", options.beta,
          ", it is more than 0");
  require(options.desirable_weight >= 0.0 && options.undesirable_weight >= 0.0,
          "kto_loss: desirable_weight is ", options.desirable_weight, ", undesirable_weight is ",
          options.undesirable_weight);
}

double sum_of(const at::Tensor& values) { return values.sum(at::kDouble).item<double>(); }

// Of detached rewards and log-probs.
KtoClassSums sums_of(const at::Tensor& members, const at::Tensor& rewards, const at::Tensor& logps) {
  return {.examples = members.sum().item<int64_t>(),
          .rewards = sum_of(rewards.masked_select(members)),
          .logps = sum_of(logps.masked_select(members))};
}

}  // namespace

double kto_z0(const at::Tensor& policy_mismatched, const at::Tensor& ref_mismatched) {
  require(policy_mismatched.dim() == 1 && policy_mismatched.sizes() == ref_mismatched.sizes(),
          "kto_z0: policy_mismatched is ", policy_mismatched.sizes(), ", ref_mismatched is ",
          ref_mismatched.sizes());
  require(policy_mismatched.numel() >= 2, "kto_z0: a step of ", policy_mismatched.numel(),
          " examples has no mismatched completions, it takes two");
  const auto log_ratios = policy_mismatched.detach().to(at::kDouble) - ref_mismatched.detach();
  return std::max(0.0, log_ratios.mean().item<double>());
}

KtoLoss kto_loss(const KtoLossInputs& in, double z0, int64_t step_examples, const KtoLossOptions& options) {
  check_inputs(in, z0, step_examples, options);

  const auto log_ratio = in.policy_logps - in.ref_logps.detach();  // [examples]
  const auto gain = options.beta * (log_ratio - z0);
  const auto example_loss = at::where(in.desirable, options.desirable_weight * (-gain).sigmoid(),
                                      options.undesirable_weight * gain.sigmoid());

  const auto rewards = options.beta * log_ratio.detach(), logps = in.policy_logps.detach();
  return {.loss = example_loss.sum() / static_cast<double>(step_examples),
          .example_loss = example_loss.detach(),
          .desirable = sums_of(in.desirable, rewards, logps),
          .undesirable = sums_of(in.desirable.logical_not(), rewards, logps)};
}

}  // namespace sluice::learner
