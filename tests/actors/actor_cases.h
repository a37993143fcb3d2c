// A tokenizer, a reward and a network that fit together.
#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rewards/reward_mix.h"
#include "tests/tiny_network.h"
#include "text/tokenizer.h"

namespace sluice::actors {

inline constexpr int32_t kEos = 2;

// Weights large enough that the distributions are far from flat. On one thread: for operators this small,
// waiting for a second one is all the time they take.
inline std::unique_ptr<model::Network> decided_network(uint64_t seed = 7) {
  at::set_num_threads(1);
  auto network = tiny_network(seed);
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : network->parameters()) {
    if (tensor.dim() == 2) tensor.mul_(20.0);
  }
  return network;
}

// 23 ids, as many as the network knows: 4 specials, the line end and 18 letters.
inline std::unique_ptr<text::Tokenizer> letters() {
  return text::train_character_tokenizer("abcdefghijklmnopqr");
}

// The number of characters; what is truncated has no score.
class CharacterCount final : public rewards::RewardFunction {
 public:
  const std::string& name() const override { return name_; }
  std::vector<rewards::RewardOutcome> score(std::span<const rewards::RewardRequest> group) override {
    std::vector<rewards::RewardOutcome> outcomes;
    for (const auto& request : group) {
      outcomes.push_back(
          request.truncated ? rewards::RewardOutcome::unscored("truncated")
                            : rewards::RewardOutcome::scored(static_cast<double>(request.completion.size())));
    }
    return outcomes;
  }

 private:
  const std::string name_ = "characters";
};

inline rewards::RewardMix character_count() {
  rewards::RewardMix mix;
  mix.add(std::make_unique<CharacterCount>(), 0.5);
  return mix;
}

}  // namespace sluice::actors
