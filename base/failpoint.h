// Named places at which a process can be made to fail, so that a test sees what is left of a run.
//
// SLUICE_FAIL=journal.after_write:3:kill kills the process the third time that it comes to that place,
// learner.loss:3:nan makes the third loss one that is no number, and ranks.sum@1:3:stop stops rank 1 alone of
// those that come to it; `sluice doctor --failpoints` lists the places. Where the variable is not set nothing
// happens.
#pragma once

#include <cstdint>
#include <optional>
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
  Reward,
  Logprob,
  Ratio,
  Loss,
  Gradient,
  Weight,
  RanksSum,
  RanksBroadcast,
};

struct FailpointInfo {
  Failpoint point;
  const char* name;  // "journal.after_write"
  const char* where;
  bool has_number = false;  // injected() is asked there
  bool has_ranks = false;   // one of them may be named
};
std::span<const FailpointInfo> failpoints();

// Throws UsageError when the variable makes no sense.
void check_failpoint();

// Does what SLUICE_FAIL asks for here: `kill` (SIGKILL), `stop` (SIGSTOP), `slow` (nothing for 8 s), or
// `error` (an EnvironmentError, as if the disk had failed).
void reach(Failpoint point);
// At a place that has ranks: unless SLUICE_FAIL names another of them.
void reach(Failpoint point, int64_t rank);

// At a place that has a number: what SLUICE_FAIL wants it to be (`nan`, `inf`), or does what reach() does.
std::optional<double> injected(Failpoint point);

}  // namespace sluice
