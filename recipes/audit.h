// What the files of a run directory say of its rollouts: how every group ended, and whether nothing was lost.
//
// The journal of a stage is read from its first record and let happen to a ledger; what other files say of
// the same groups is held against that. Reads only, and may be asked of a run that goes on.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "buffers/ledger.h"
#include "recipes/recipe.h"
#include "recipes/run_directory.h"

namespace sluice::recipes {

// A group that was issued: "trained", "dropped", "quarantined", or what it is still, "queued" or "leased".
struct AuditedGroup {
  uint64_t group = 0;
  std::string state;
  int64_t step = 0;    // trained: of the stage, the first is 1
  std::string reason;  // dropped, quarantined
};

// By name, as a stage's result has them and a report shows them.
Json to_json(const buffers::LedgerCounts& law);

struct StageAudit {
  std::string stage;
  bool finished = false;
  buffers::LedgerCounts law;
  std::map<std::string, int64_t> reasons;  // of drops and quarantines, counted
  std::vector<AuditedGroup> groups;        // by id
  int64_t batches = 0;                     // trained
  int64_t torn_bytes = 0;                  // a last record that is not whole: written now, or cut by a crash
  std::vector<std::string> problems;       // what must not be, each a sentence
};

// Of every policy stage that has begun, in the order of the run.
std::vector<StageAudit> audit(const RunDirectory& run);

struct AuditedCheckpoint {
  std::string name;
  std::string damage;  // "" when every file is as its manifest says
};
// Of every checkpoint, oldest first; reads all their bytes.
std::vector<AuditedCheckpoint> audit_checkpoints(const RunDirectory& run);

}  // namespace sluice::recipes
