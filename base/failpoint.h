// Named places at which a process can be made to fail, so that a test sees what is left of a run.
//
// SLUICE_FAIL=journal.after_write:3:kill kills the process the third time that it comes to that place;
// `sluice doctor --failpoints` lists the places. Where the variable is not set nothing happens.
#pragma once

#include <span>

namespace sluice {

inline constexpr const char* kFailVariable = "SLUICE_FAIL";

enum class Failpoint : unsigned char {
  JournalBeforeWrite,
  JournalAfterWrite,
  JournalAfterSync,
  SpoolBeforeWrite,
  SpoolAfterWrite,
  SpoolAfterSync,
  BatchJournalled,
  StepLearned,
  StepTrained,
  VersionPublished,
  CheckpointWritten,
  CheckpointNamed,
  CheckpointPointedAt,
  JournalTrimmed,
  StageResult,
};

struct FailpointInfo {
  Failpoint point;
  const char* name;  // "journal.after_write"
  const char* where;
};
std::span<const FailpointInfo> failpoints();

// Throws UsageError when the variable makes no sense.
void check_failpoint();

// Does what SLUICE_FAIL asks for here: `kill` (SIGKILL), `stop` (SIGSTOP), or `error` (an EnvironmentError,
// as if the disk had failed).
void reach(Failpoint point);

}  // namespace sluice
