#include "sft/held_out.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/error.h"

namespace sluice::sft {

void HeldOutSums::add(const HeldOutSums& more) {
  targets += more.targets;
  nll += more.nll;
  correct += more.correct;
}

double HeldOutSums::loss() const {
  require(targets > 0, "HeldOutSums: the loss of no token");
  return nll / static_cast<double>(targets);
}

double HeldOutSums::accuracy() const {
  require(targets > 0, "HeldOutSums: the accuracy of no token");
  return correct / static_cast<double>(targets);
}

HeldOutSums held_out_sums(const model::Network& network, std::span<const Example> examples,
                          int64_t micro_batch_tokens) {
  const at::NoGradGuard no_grad;
  HeldOutSums sums;
  for (const auto& pack : pack_examples(examples, micro_batch_tokens, network.device())) {
    const auto out = network.logprobs(pack.batch, pack.targets, /*temperature=*/1.0);
    sums.targets += out.logprobs.numel();
    sums.nll -= out.logprobs.sum(at::kDouble).item<double>();
    sums.correct += out.is_top.sum().item<double>();
  }
  return sums;
}

}  // namespace sluice::sft
