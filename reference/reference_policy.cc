#include "reference/reference_policy.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include "base/error.h"
#include "base/trace.h"
#include "model/frozen_logprobs.h"

namespace sluice::reference {

namespace {

std::unique_ptr<model::Network> frozen(std::unique_ptr<model::Network> network) {
  network->freeze();
  return network;
}

class WithoutAdapter {
 public:
  explicit WithoutAdapter(model::Network& network) : network_(network) { network_.use_adapter(false); }
  WithoutAdapter(const WithoutAdapter&) = delete;
  WithoutAdapter& operator=(const WithoutAdapter&) = delete;
  ~WithoutAdapter() { network_.use_adapter(true); }

 private:
  model::Network& network_;
};

}  // namespace

void mix_reference(at::Tensor& reference_flat, const at::Tensor& policy_flat, double alpha) {
  require(policy_flat.sizes() == reference_flat.sizes(), "mix_reference: the policy is ", policy_flat.sizes(),
          ", the reference is ", reference_flat.sizes());
  require(alpha >= 0.0 && alpha <= 1.0, "mix_reference: alpha is ", alpha, ", it is from 0 to 1");
  const at::NoGradGuard no_grad;
  reference_flat.lerp_(policy_flat.to(reference_flat.options()), alpha);
}

ReferencePolicy::ReferencePolicy(std::unique_ptr<model::Network> network)
    : network_(frozen(std::move(network))), hash_(hash_now()) {}

ReferencePolicy::ReferencePolicy(std::unique_ptr<model::OffloadedNetwork> network)
    : offloaded_(std::move(network)), hash_(hash_now()) {}

ReferencePolicy::ReferencePolicy(model::Network& adapted) : adapted_(&adapted), hash_(hash_now()) {}

at::Tensor ReferencePolicy::logprobs(const model::PackedBatch& batch, const model::TokenTargets& targets,
                                     double temperature) const {
  const Traced trace("reference");
  if (network_) return model::frozen_logprobs(*network_, batch, targets, temperature);
  const at::NoGradGuard no_grad;
  if (offloaded_) return offloaded_->logprobs(batch, targets, temperature).logprobs;
  const WithoutAdapter without(*adapted_);
  return adapted_->logprobs(batch, targets, temperature).logprobs;
}

const at::Tensor& ReferencePolicy::weights() const {
  require(network_ != nullptr, "reference: it has no weights of its own in memory");
  return network_->flat();
}

std::string ReferencePolicy::hash_now() const {
  if (offloaded_) return offloaded_->weights_hash();
  if (network_) return network_->weights_hash();
  const WithoutAdapter without(*adapted_);
  return adapted_->weights_hash();
}

void ReferencePolicy::mix(const at::Tensor& policy_flat, double alpha) {
  require(network_ != nullptr, "reference: weights that it has not for itself are not mixed into");
  auto flat = network_->flat();
  require(flat.scalar_type() != at::kBFloat16, "reference: weights of bfloat16 are too coarse to mix into");
  check_unmoved();
  mix_reference(flat, policy_flat, alpha);
  network_->freeze();
  hash_ = hash_now();
}

void ReferencePolicy::check_unmoved() const {
  const auto now = hash_now();
  require(now == hash_, "reference: its weights moved, their SHA-256 was ", hash_, " and is ", now);
}

}  // namespace sluice::reference
