// A policy's trunk under a head of one number: where a reward model and a critic start.
#pragma once

#include <cstdint>
#include <memory>

#include "model/network.h"

namespace sluice::model {

// The config of such a network: what save_model() writes is AutoModelForSequenceClassification's with one
// label.
ModelConfig scalar_head_config(const ModelConfig& policy);

// Of the policy's type and device, its adapters merged in. The head is Normal(0, 1 / sqrt(hidden + 1)) by
// Philox.
std::unique_ptr<Network> with_scalar_head(const Network& policy, uint64_t seed);

}  // namespace sluice::model
