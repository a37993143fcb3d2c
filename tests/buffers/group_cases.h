// Groups small enough to read.
#pragma once

#include <string>

#include "base/error.h"
#include "buffers/rollout_group.h"
#include "tests/base/temp_folder.h"

namespace sluice::buffers {

// Two completions of three and one tokens, the second of which the policy did not choose in part.
inline RolloutGroup small_group(uint64_t id, int64_t version = 0) {
  RolloutGroup group;
  group.group = id;
  group.attempt = 1;
  group.step = static_cast<int64_t>(id) / 4;
  group.prompt = {5, 6, 7};
  group.prompt_text = "2+2=";
  Completion first;
  first.tokens = {8, 9, 2};
  first.mask = {1, 0, 1};
  first.logprobs = {-0.5f, 0.0f, -1.25f};
  first.kept_mass = {1.0f, 1.0f, 0.75f};
  first.versions = {version + 1, 0, version};
  first.finish = FinishReason::Stop;
  first.text = "4\n";
  first.outcomes = {rewards::RewardOutcome::scored(1.0, {{"right", 1.0}}),
                    rewards::RewardOutcome::unscored("timeout")};
  Completion second;
  second.tokens = {8};
  second.mask = {1};
  second.logprobs = {-2.0f};
  second.kept_mass = {1.0f};
  second.versions = {version + 2};
  second.text = std::string("\0\xff", 2);
  second.outcomes = {rewards::RewardOutcome::scored(0.0), rewards::RewardOutcome::scored(-0.5)};
  group.completions = {first, second};
  group.greedy = {rewards::RewardOutcome::scored(0.25, {{"right", 0.25}}),
                  rewards::RewardOutcome::unscored("crash")};
  group.scorers = {{.seconds = 0.5, .canary_error = 0.25}, {.seconds = 0.0, .cached = 3}};
  group.tools = ToolWatch{.calls = 5, .failed = 2, .seconds = 0.75};
  group.actor = "actor-1";
  group.incarnation = 0x1234567890abcdef;
  group.sequence = 77;
  return group;
}

}  // namespace sluice::buffers
