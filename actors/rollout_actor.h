// The rollout actor: leases in, scored groups out, always with the weights the lease names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "actors/engine.h"
#include "actors/tool_use.h"
#include "base/clock.h"
#include "model/network.h"
#include "rewards/canaries.h"
#include "rewards/reward_mix.h"
#include "text/tokenizer.h"
#include "transport/handshake.h"

namespace sluice::actors {

struct RolloutActorOptions {
  std::string address;           // of the learner's rollout server
  transport::Identity identity;  // who this actor is
  EngineOptions engine;
  std::filesystem::path spool;               // where finished groups are kept; "": in memory alone
  uint64_t spool_bytes = uint64_t{1} << 30;  // then no more work is taken on until the learner has some
  bool int8_weights = false;                 // on the CPU: products multiply with rounded weights
  // Groups under way go on with newer weights as soon as they are there; else a group has one version.
  bool mix_versions = false;
  const rewards::Toolbox* tools = nullptr;  // that completions may call, which outlives the run; null: none
  ToolUseOptions tool_use;
  rewards::Canaries canaries;    // scored with the groups that they are due with
  int64_t min_scored = 0;        // a group with fewer scored completions is scored once more
  int64_t leases_ahead = 2;      // taken on beyond the one under way
  int64_t unscored_groups = 64;  // decoded and waiting for their scores: then no other is begun
  Millis heartbeat_ms = 1'000;
  Millis connect_timeout_ms = 60'000;  // to be welcomed
  Millis silence_ms = 30'000;          // the learner must be heard of within this
};

enum class ActorEnd { Stopped, Interrupted };  // told to stop by the learner, or by `interrupted`

// Runs until the learner says stop or `interrupted` returns true. Every wait has a deadline: throws Error
// naming what it waited for, and with the learner's reason when it was refused. The network's weights are
// replaced by mapped ones. A thread beside asks the rewards, and interrupts them for good at the end. Not yet
// acknowledged groups are sent again after a reconnection.
ActorEnd run_rollout_actor(model::Network& network, const text::Tokenizer& tokenizer,
                           const rewards::RewardMix& rewards, const RolloutActorOptions& options,
                           const std::function<bool()>& interrupted,
                           std::unique_ptr<Drafter> drafter = nullptr);

}  // namespace sluice::actors
