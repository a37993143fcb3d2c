// code_tests: 1 when the completion's program passes all tests of its row, else 0.
//
// The program is what the last ```python block holds, else all of the completion; it runs in the sandbox
// (docs/sandbox.md), each completion's in one of its own. `partial` = true gives the share of tests passed.
// `setup` names a column of statements that tests need: imports, helpers.
//
//   tests = ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]
//   ```python\ndef add(a, b):\n    return a + b\n```     1
//   def add(a, b): return 3                              0      0.5 with partial
//   class Any: __eq__ = lambda *_: True
//   def add(a, b): return Any()                          0      what is returned is compared as data
//   import os; os._exit(0)                               0
//   tests = [{"input": "2 3\n", "output": "5\n"}]
//   print(sum(map(int, input().split())))                1
//   print("5 passed")                                    0
#include <algorithm>
#include <atomic>
#include <iostream>
#include <thread>

#include "rewards/code/code_block.h"
#include "rewards/code/trial.h"
#include "rewards/internal/scorers.h"

namespace sluice::rewards::internal {
namespace {

namespace fs = std::filesystem;

code::TrialOptions trial_options(const RewardSpec& spec) {
  const auto level = sandbox_level(option<std::string>(spec, "sandbox", "namespaces"), speaker(spec));
  const auto timeout_s = option<double>(spec, "timeout_s", 10.0);
  const auto memory_mb = option<int64_t>(spec, "memory_mb", 1024);
  require<UsageError>(timeout_s >= 0.1 && timeout_s <= 600.0, speaker(spec),
                      ": timeout_s is from 0.1 to 600, saw ", timeout_s);
  require<UsageError>(memory_mb >= 64 && memory_mb <= 1 << 20, speaker(spec),
                      ": memory_mb is from 64 to 1048576, saw ", memory_mb);
  code::TrialOptions options;
  options.python = option<std::string>(spec, "python", "/usr/bin/python3");
  options.policy.level = level;
  options.policy.limits.cpu_s = static_cast<int64_t>(timeout_s) + 1;
  options.policy.limits.memory_bytes = static_cast<uint64_t>(memory_mb) << 20;
  for (const auto& path : option<std::vector<std::string>>(spec, "readable", {})) {
    options.policy.readable.emplace_back(path);
  }
  options.wall_ms = static_cast<Millis>(timeout_s * 1000.0);
  options.all_cases = option<bool>(spec, "partial", false);
  return options;
}

// Statements: a text, or a list of texts.
std::string setup_of(const RewardRequest& request, const std::string& column) {
  if (column.empty()) return "";
  const auto found = request.row->columns.find(column);
  require<DataError>(found != request.row->columns.end(), "column \"", column, "\" is missing at ",
                     request.row->where());
  std::string statements;
  for (const auto& text : found->is_array() ? *found : Json::array({*found})) {
    require<DataError>(text.is_string(), "column \"", column, "\" is not of texts alone at ",
                       request.row->where());
    statements += text.get<std::string>() + '\n';
  }
  return statements;
}

class CodeTests final : public RewardFunction {
 public:
  explicit CodeTests(const RewardSpec& spec)
      : name_(spec.name.empty() ? spec.use : spec.name),
        column_(option<std::string>(spec, "column", "tests")),
        setup_(option<std::string>(spec, "setup", "")),
        options_(trial_options(spec)) {
    options_.interrupted = &interrupted_;
    require_sandbox(options_.policy.level, speaker(spec));
    const auto problem = code::python_problem(options_);
    require<EnvironmentError>(
        problem.empty(), speaker(spec), ": ", options_.python, " does not run in the sandbox: ", problem,
        "; apt-get install python3, or name another as `python` and what it needs besides "
        "/usr in `readable`");
  }

  const std::string& name() const override { return name_; }

  // Several at once: they wait for processes.
  std::vector<RewardOutcome> score(std::span<const RewardRequest> group) override {
    std::vector<RewardOutcome> outcomes(group.size());
    std::atomic<size_t> next = 0;
    const auto work = [&] {
      for (size_t i = next++; i < group.size(); i = next++) outcomes[i] = score_or_reason(group[i]);
    };
    const size_t helpers = std::min<size_t>(group.size(), std::max(1u, std::thread::hardware_concurrency()));
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < helpers; ++i) threads.emplace_back(work);
    work();
    threads.clear();
    say_denied(group, outcomes);
    return outcomes;
  }
  std::vector<RewardOutcome> score_each(std::span<const RewardRequest> samples) override {
    return score(samples);
  }
  void interrupt() override { interrupted_ = true; }

 private:
  void say_denied(std::span<const RewardRequest> group, const std::vector<RewardOutcome>& outcomes) const {
    const auto denied = std::ranges::count_if(outcomes, [](const RewardOutcome& outcome) {
      const auto part = outcome.parts.find("denied");
      return part != outcome.parts.end() && part->second > 0;
    });
    if (denied == 0) return;
    std::cerr << "sluice: reward " << name_ << ": " << denied << " of " << outcomes.size() << " programs for "
              << group.front().row->where() << " " << describe(SandboxEnd::Denied) << '\n';
  }

  RewardOutcome score_or_reason(const RewardRequest& request) const {
    try {
      return score_one(request);
    } catch (const std::exception& error) {  // not out of a thread
      return RewardOutcome::unscored(error.what());
    }
  }

  RewardOutcome score_one(const RewardRequest& request) const {
    if (interrupted_) return RewardOutcome::unscored("interrupted: no score is wanted any more");
    const auto cases = code::code_cases(request, column_);
    if (!cases.problem.empty()) return RewardOutcome::unscored(cases.problem);
    const auto trial =
        code::try_program(code::code_block(request.completion), cases, setup_of(request, setup_), options_);
    if (!trial.problem.empty()) {
      return RewardOutcome::unscored(trial.problem + ", " + request.row->where());
    }
    const double passed = static_cast<double>(trial.passed) / static_cast<double>(cases.size());
    return RewardOutcome::scored(passed == 1.0 || options_.all_cases ? passed : 0.0,
                                 {{"passed", passed},
                                  {"timed_out", trial.timed_out ? 1.0 : 0.0},
                                  {"denied", trial.denied ? 1.0 : 0.0}});
  }

  const std::string name_, column_, setup_;
  code::TrialOptions options_;
  std::atomic<bool> interrupted_ = false;
};

}  // namespace

std::unique_ptr<RewardFunction> make_code_tests(const RewardSpec& spec, const RewardResources&) {
  return std::make_unique<CodeTests>(spec);
}

}  // namespace sluice::rewards::internal
