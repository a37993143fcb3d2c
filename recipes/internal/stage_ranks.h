// A stage on several ranks: rank 0 finds, decides, reports and writes, the others follow it step by step.
//
// Each takes its share of each step; what rank 0 tells them is all that they know of the run. A group of one
// rank does none of this.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "buffers/rollout_group.h"
#include "optim/optimizer.h"
#include "recipes/internal/stage_context.h"
#include "transport/collective.h"

namespace sluice::recipes {

// What rank 0 finds is what all begin with.
StageStart find_start(const RunDirectory& run, const Recipe& recipe, const StageSpec& stage,
                      transport::Collective& ranks);

// The signal that rank 0 has been sent, or 0, on every rank.
int told_to_stop(transport::Collective& ranks, const StopRequest& stop);

// Throws Error naming the ranks whose weights are not those of rank 0, as far as both have them. Waits for
// them as long as loading may take.
void check_in_step(const optim::Optimizer& optimizer, std::string_view when);

// What rank 0 has the others of a policy stage do next.
struct Order {
  enum class Kind : uint8_t {
    Wait,   // for the next order
    Learn,  // from the groups
    Save,   // what is sharded goes to rank 0, which writes a checkpoint
    End,
  };
  Kind kind = Kind::Wait;
  std::vector<buffers::RolloutGroup> groups = {};
  int64_t status = 0;  // of the process, when it ends
};
// Given by rank 0, taken by the others.
void give(transport::Collective& ranks, Order::Kind kind, int64_t status = 0);
void give_to_learn(transport::Collective& ranks, const std::vector<buffers::RolloutGroup>& groups);
Order take_order(transport::Collective& ranks);

}  // namespace sluice::recipes
