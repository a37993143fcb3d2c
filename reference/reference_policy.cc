#include "reference/reference_policy.h"

#include <ATen/core/grad_mode.h>

#include "base/error.h"

namespace sluice::reference {

namespace {

std::unique_ptr<model::Network> frozen(std::unique_ptr<model::Network> network) {
  network->freeze();
  return network;
}

}  // namespace

ReferencePolicy::ReferencePolicy(std::unique_ptr<model::Network> network)
    : network_(frozen(std::move(network))), hash_(network_->snapshot(/*version=*/0).hash) {}

at::Tensor ReferencePolicy::logprobs(const model::PackedBatch& batch, const model::TokenTargets& targets,
                                     double temperature) const {
  const at::NoGradGuard no_grad;
  return network_->logprobs(batch, targets, temperature).logprobs;
}

void ReferencePolicy::check_unmoved() const {
  const auto now = network_->snapshot(/*version=*/0).hash;
  require(now == hash_, "reference: its weights moved, their SHA-256 was ", hash_, " and is ", now);
}

}  // namespace sluice::reference
