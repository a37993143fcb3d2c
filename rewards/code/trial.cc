#include "rewards/code/trial.h"

#include <algorithm>
#include <sstream>

#include "base/captured_run.h"
#include "base/pipe.h"
#include "rewards/code/programs.h"
#include "rewards/internal/final_answer.h"

namespace sluice::rewards::code {
namespace {

constexpr uint64_t kOutputBytes = 1u << 20;
constexpr Millis kEndMs = 1'000;  // for a solution whose pipe is closed to be gone

SubprocessOptions start_of(const char* program, std::string input, const TrialOptions& options) {
  SubprocessOptions start;
  // As it comes, Python orders sets by chance: the same program has to give the same score.
  start.environment = {{"PYTHONHASHSEED", "0"}, {"PYTHONDONTWRITEBYTECODE", "1"}};
  start.command = {options.python.string(), "-s", "-c", program};
  start.inputs[kInputFd] = std::move(input);
  return start;
}

constexpr const char* kInterrupted = "interrupted: no result is wanted any more";

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

void note(SandboxEnd end, Trial& trial) {
  trial.denied |= end == SandboxEnd::Denied;
  trial.timed_out |= end == SandboxEnd::CpuLimit;
}

bool pass_stream(const std::string& program, const StreamCase& test, Millis left_ms,
                 const TrialOptions& options, Trial& trial) {
  const auto [run, problem] =
      run_program(program, test.input,
                  {.wall_ms = left_ms, .output_bytes = kOutputBytes + 2 * test.output.size()}, options);
  if (!problem.empty()) {
    trial.problem = problem;
    return false;
  }
  trial.timed_out |= run.timed_out;
  if (!run.status) return false;
  const auto end = sandbox_end(*run.status, options.policy.level);
  note(end, trial);
  return end == SandboxEnd::Done && same_lines(run.output, test.output);
}

Trial try_streams(const std::string& program, const CodeCases& cases, const TrialOptions& options) {
  const SteadyClock clock;
  const Millis deadline_ms = clock.now_ms() + options.wall_ms;
  Trial trial;
  for (const auto& test : cases.streams) {
    const Millis left_ms = deadline_ms - clock.now_ms();
    trial.timed_out |= left_ms <= 0;
    if (left_ms <= 0) break;
    const bool passed = pass_stream(program, test, left_ms, options, trial);
    trial.passed += passed ? 1 : 0;
    if (!trial.problem.empty() || (!passed && !options.all_cases)) break;
  }
  return trial;
}

// What the judge said, a line each.
void read_verdicts(const CapturedRun& judge, Trial& trial, bool& gone) {
  constexpr std::string_view kUnsupported = "unsupported ";
  std::istringstream lines(judge.errors.substr(std::string_view(kStarted).size()));
  for (std::string line; std::getline(lines, line);) {
    trial.passed += line == "pass" ? 1 : 0;
    gone |= line == "gone" || line == "unloaded";
    if (line == "absent") trial.problem = "the solution's sandbox did not start";
    if (line.starts_with(kUnsupported)) trial.problem = "a test " + line.substr(kUnsupported.size());
  }
}

Trial try_calls(const std::string& program, const CodeCases& cases, const std::string& setup,
                const TrialOptions& options) {
  const Json job = {{"setup", setup}, {"tests", cases.calls}, {"partial", options.all_cases}};
  Pipe to_solution, to_judge;
  auto start = start_of(kSolution, program, options);
  start.stdin_fd = to_solution.read_end();
  start.stdout_fd = to_judge.write_end();
  start.output = "/dev/null";
  auto solution = Subprocess::start(sandboxed(std::move(start), options.policy));
  // From here on each end is with the child that uses it alone, so that either sees when the other is gone.
  to_solution.close_read();
  to_judge.close_write();

  start = start_of(kJudge, job.dump(), options);
  start.stdin_fd = to_judge.read_end();
  start.stdout_fd = to_solution.write_end();
  const auto judge = run_captured(sandboxed(std::move(start), options.policy),
                                  {.wall_ms = options.wall_ms, .interrupted = options.interrupted});

  Trial trial;
  if (judge.interrupted) {
    trial.problem = kInterrupted;
    return trial;
  }
  if (!judge.errors.starts_with(kStarted)) {
    trial.problem = "the judge's sandbox did not start: " + first_line(judge.errors);
    return trial;
  }
  bool gone = false;
  read_verdicts(judge, trial, gone);
  trial.timed_out = judge.timed_out;
  if (const auto status = solution.wait(gone ? kEndMs : 0)) {
    note(sandbox_end(*status, options.policy.level), trial);
  }
  return trial;
}

}  // namespace

Trial try_program(const std::string& program, const CodeCases& cases, const std::string& setup,
                  const TrialOptions& options) {
  return cases.calls.empty() ? try_streams(program, cases, options)
                             : try_calls(program, cases, setup, options);
}

ProgramRun run_program(const std::string& program, const std::string& input, CaptureLimits limits,
                       const TrialOptions& options) {
  limits.interrupted = options.interrupted;
  auto start = start_of(kScript, program, options);
  start.inputs[0] = input;
  ProgramRun result{.run = run_captured(sandboxed(std::move(start), options.policy), limits)};
  auto& run = result.run;
  if (run.errors.starts_with(kStarted)) {
    run.errors.erase(0, std::string_view(kStarted).size());
  } else if (!run.interrupted) {
    result.problem =
        "the sandbox did not start" + (run.timed_out ? " in time" : ": " + first_line(run.errors));
  }
  if (run.interrupted) result.problem = kInterrupted;
  return result;
}

std::string python_problem(const TrialOptions& options) {
  // The youngest thing that the programs here use, of Python 3.10.
  const auto run = run_captured(
      sandboxed(start_of(kScript, "import sys\nsys.stdlib_module_names", options), options.policy), {});
  if (run.timed_out) return "it does not start in time";
  if (run.errors.starts_with(kStarted) && run.status && run.status->ok()) return "";
  const std::string_view said = internal::trim(run.errors);
  return std::string(said.substr(said.rfind('\n') + 1)) + " (" +
         (run.status ? describe(*run.status) : "it writes without end") + ")";
}

}  // namespace sluice::rewards::code
