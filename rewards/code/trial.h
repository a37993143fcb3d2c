// A program of the policy's, tried in the sandbox.
#pragma once

#include <atomic>
#include <filesystem>
#include <string>

#include "base/captured_run.h"
#include "base/clock.h"
#include "rewards/code/code_cases.h"
#include "rewards/sandbox.h"

namespace sluice::rewards::code {

struct TrialOptions {
  std::filesystem::path python;
  SandboxPolicy policy;
  Millis wall_ms = 10'000;                         // for all cases of one program together
  bool all_cases = false;                          // those behind the first that failed too
  const std::atomic<bool>* interrupted = nullptr;  // from another thread: nothing is wanted any more
};

struct Trial {
  int64_t passed = 0;
  bool timed_out = false;  // by wall or processor time
  bool denied = false;     // the program did what the sandbox forbids
  std::string problem;     // why nothing can be said of it; not the program's doing
};

// Nothing that the program says of itself counts: what it writes is compared outside, and what its functions
// return is compared in a sandbox that it has no way into. It never sees what is expected.
Trial try_program(const std::string& program, const CodeCases& cases, const std::string& setup,
                  const TrialOptions& options);

// One run of a program, which reads `input`. `problem` says why it did not even begin; behind it, what the
// run wrote to stderr is the program's alone.
struct ProgramRun {
  CapturedRun run;
  std::string problem;
};
ProgramRun run_program(const std::string& program, const std::string& input, CaptureLimits limits,
                       const TrialOptions& options);

// What keeps Python from running in the sandbox; "" when it does.
std::string python_problem(const TrialOptions& options);

}  // namespace sluice::rewards::code
