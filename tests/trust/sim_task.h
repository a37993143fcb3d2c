// What a run is about: its prompts, what comes of them, and how a step learns. All of it follows from the
// seed and the weights, so the actors, the learner and the oracle are told the same.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "buffers/rollout_group.h"
#include "learner/rollout_server.h"
#include "tests/trust/sim_random.h"

namespace sluice::trust {

inline constexpr int64_t kPerStep = 4, kSteps = 12, kStaleness = 1, kSamples = 2;
inline constexpr int64_t kCheckpointEvery = 3;
inline constexpr Millis kLeaseMs = 3'000, kActorTimeoutMs = 4'000;
inline constexpr uint64_t kFirstWeights = 0x5eed;
inline constexpr int32_t kManyAttempts = 1'000;  // no prompt is given up for the deaths that chance brings

struct SimTask {
  uint64_t seed = 0;
  bool exact_versions = true;  // deterministic mode
  int64_t refills = 0;
  learner::RefillFallback fallback = learner::RefillFallback::Keep;
  int32_t max_attempts = kManyAttempts;
  // Shares of the groups: all of whose completions earn the same, which has no score, whose prompt kills who
  // samples it, which no step can learn from.
  double without_spread = 0, unscored = 0, deadly = 0, poisoned = 0;
  // A guard sends the run back once, after this step: its weights were published, or are no good.
  std::optional<int64_t> goes_back_after;
  bool broken = false;

  // Every fourth run takes groups as they come; what else there is to it is chance.
  static SimTask draw(uint64_t seed, SimRandom& random) {
    SimTask task{.seed = seed, .exact_versions = seed % 4 != 3};
    if (random.chance(0.3)) {
      task.refills = 1 + random.below(3);
      task.without_spread = 0.25;
      if (random.chance(0.5)) task.fallback = learner::RefillFallback::Shrink;
    }
    if (random.chance(0.3)) task.unscored = 0.05;
    if (random.chance(0.3)) task.poisoned = 0.05;
    if (random.chance(0.3)) {
      task.deadly = 0.04;
      task.max_attempts = static_cast<int32_t>(2 + random.below(3));
    }
    if (random.chance(0.3)) {
      task.goes_back_after = random.below(kSteps);
      task.broken = random.chance(0.5);
      task.poisoned = 0.1;
    }
    return task;
  }

  // What these weights say to the prompt of this group.
  struct Sample {
    std::array<int32_t, kSamples> tokens;  // of one completion each
    bool scored = true, spread = true;
  };
  Sample sample(uint64_t group, uint64_t weights) const {
    const uint64_t hash = mixed(weights, group);
    return {.tokens = {static_cast<int32_t>(hash & 0xffffff), static_cast<int32_t>(hash >> 24 & 0xffffff)},
            .scored = share(hash, 1) >= unscored,
            .spread = share(hash, 2) >= without_spread};
  }
  bool kills(uint64_t group) const { return share(mixed(seed, group), 3) < deadly; }

  static uint64_t contents_of(uint64_t group, int32_t first, int32_t second) {
    return mixed(mixed(group, static_cast<uint64_t>(first)), static_cast<uint64_t>(second));
  }
  bool poisons(uint64_t contents) const { return share(contents, 4) < poisoned; }
  // The weights after a step over these contents; a poisoned one moves nothing.
  uint64_t learned(uint64_t weights, const std::vector<uint64_t>& batch) const {
    uint64_t after = weights;
    for (const uint64_t contents : batch) {
      if (poisons(contents)) return weights;
      after = mixed(after, contents);
    }
    return after;
  }

  static std::string prompt_of(uint64_t group) { return "prompt " + std::to_string(group); }

 private:
  static double share(uint64_t hash, uint64_t of) { return static_cast<double>(mixed(hash, of)) * 0x1.0p-48; }
};

}  // namespace sluice::trust
