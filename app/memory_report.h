// What the processes of a recipe take in memory, before any of them is started.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "base/json.h"
#include "model/memory_plan.h"
#include "recipes/inputs.h"
#include "recipes/recipe.h"

namespace sluice::app {

struct RoleMemory {
  std::string role;
  int64_t count = 1;     // processes, or copies
  bool on_host = false;  // though the recipe's device is another
  model::MemoryPlan plan;

  int64_t total() const { return count * plan.total(); }
};

struct StageMemory {
  std::string stage;
  std::vector<RoleMemory> roles;

  int64_t total(bool on_host) const;
};

// Roles of each stage. Actors on a CPU map the published weights and have none of their own; as many versions
// are published as the staleness lets live. `inputs` says how long sequences get.
std::vector<StageMemory> plan_stages(const recipes::Recipe& recipe, const recipes::InputsFound& inputs);

Json memory_json(const model::MemoryPlan& plan);
// Totals are by device.
Json memory_json(const recipes::Recipe& recipe, const std::vector<StageMemory>& stages);
// A line for each role, the largest total against what the machine has, and a warning when it does not fit.
void print_memory(std::ostream& out, const recipes::Recipe& recipe, const std::vector<StageMemory>& stages);

}  // namespace sluice::app
