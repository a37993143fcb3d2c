// The frozen policy that the KL is measured against.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "model/network.h"

namespace sluice::reference {

// A copy of a network whose weights never move. Not safe from several threads at once.
class ReferencePolicy {
 public:
  explicit ReferencePolicy(std::unique_ptr<model::Network> network);

  // [targets] float32, no gradient.
  at::Tensor logprobs(const model::PackedBatch& batch, const model::TokenTargets& targets,
                      double temperature) const;

  // SHA-256 of the weights when they were frozen.
  const std::string& hash() const { return hash_; }
  // Hashes the weights again; throws Error when they moved.
  void check_unmoved() const;

 private:
  const std::unique_ptr<const model::Network> network_;
  const std::string hash_;
};

}  // namespace sluice::reference
