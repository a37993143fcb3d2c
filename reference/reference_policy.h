// The frozen policy that the KL is measured against.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "model/network.h"
#include "model/offloaded_network.h"

namespace sluice::reference {

// TR-DPO 2024: reference <- alpha * policy + (1 - alpha) * reference, in place, of flat weights of one size.
void mix_reference(at::Tensor& reference_flat, const at::Tensor& policy_flat, double alpha);

// A network whose weights move by mix() alone. Not safe from several threads at once.
class ReferencePolicy {
 public:
  // A network of its own.
  explicit ReferencePolicy(std::unique_ptr<model::Network> network);
  // One whose weights are there for a pass alone.
  explicit ReferencePolicy(std::unique_ptr<model::OffloadedNetwork> network);
  // The policy, which outlives it, without its adapters: what these are trained beside stays.
  explicit ReferencePolicy(model::Network& adapted);

  // [targets] float32, no gradient.
  at::Tensor logprobs(const model::PackedBatch& batch, const model::TokenTargets& targets,
                      double temperature) const;

  // mix_reference() with the weights of a policy of the same shape (Network::merged_flat), float32 or
  // float64; they are frozen again and have a new hash. Log-probs computed before are another reference's.
  // For a network of its own.
  void mix(const at::Tensor& policy_flat, double alpha);

  // Flat; of a network of its own.
  const at::Tensor& weights() const;

  // SHA-256 of the weights when they were last frozen.
  const std::string& hash() const { return hash_; }
  // Hashes the weights again; throws Error when they moved.
  void check_unmoved() const;

 private:
  std::string hash_now() const;

  // One of these.
  const std::unique_ptr<model::Network> network_;
  const std::unique_ptr<model::OffloadedNetwork> offloaded_;
  model::Network* const adapted_ = nullptr;
  std::string hash_;
};

}  // namespace sluice::reference
