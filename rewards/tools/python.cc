// python: what a program prints that runs in the sandbox (docs/sandbox.md), each call in one of its own.
//
//   print(2**10)      1024
//   x = 1             (it printed nothing)
//   1/0               error: ZeroDivisionError: division by zero
//   while True: pass  error: it ran longer than 5 s
#include <atomic>
#include <sstream>

#include "rewards/code/trial.h"
#include "rewards/internal/final_answer.h"
#include "rewards/tools/entries.h"

namespace sluice::rewards::tools {
namespace {

constexpr uint64_t kOutputBytes = 64u << 10;
constexpr const char* kArgument = "code";

code::TrialOptions options_of(const ToolSpec& spec) {
  const auto timeout_s = option<double>(spec, "timeout_s", 5.0);
  require<UsageError>(timeout_s >= 0.1 && timeout_s <= 600.0, speaker(spec),
                      ": timeout_s is from 0.1 to 600, saw ", timeout_s);
  code::TrialOptions options;
  options.python = option<std::string>(spec, "python", "/usr/bin/python3");
  options.policy.level = sandbox_level(option<std::string>(spec, "sandbox", "namespaces"), speaker(spec));
  options.policy.limits.cpu_s = static_cast<int64_t>(timeout_s) + 1;
  const auto memory_mb = plugins::bounded(spec.options, speaker(spec), "memory_mb", 1024, 64, 1 << 20);
  options.policy.limits.memory_bytes = static_cast<uint64_t>(memory_mb) << 20u;
  for (const auto& path : option<std::vector<std::string>>(spec, "readable", {})) {
    options.policy.readable.emplace_back(path);
  }
  options.wall_ms = static_cast<Millis>(timeout_s * 1000.0);
  return options;
}

std::string last_line(std::string_view text) {
  text = internal::trim(text);
  return std::string(text.substr(text.rfind('\n') + 1));
}

class Python final : public Tool {
 public:
  explicit Python(const ToolSpec& spec)
      : name_(spec.name.empty() ? spec.use : spec.name), options_(options_of(spec)) {
    options_.interrupted = &interrupted_;
    require_sandbox(options_.policy.level, speaker(spec));
    const auto problem = code::python_problem(options_);
    require<EnvironmentError>(problem.empty(), speaker(spec), ": ", options_.python,
                              " does not run in the sandbox: ", problem,
                              "; apt-get install python3, or name another as `python` and what it needs "
                              "besides /usr in `readable`");
  }

  const std::string& name() const override { return name_; }
  Json description() const override {
    return takes_text(name_, "Runs a Python program and says what it prints.", kArgument,
                      "The program; print() what you want to know");
  }
  ToolAnswer call(const Json& arguments) override {
    const auto [run, problem] =
        code::run_program(text_argument(arguments, kArgument), "",
                          {.wall_ms = options_.wall_ms, .output_bytes = kOutputBytes}, options_);
    if (!problem.empty()) return {"error: " + problem, /*failed=*/true};
    if (run.timed_out) return {"error: it ran longer than " + seconds() + " s", /*failed=*/true};
    if (run.wrote_too_much) {
      return {"error: it wrote more than " + std::to_string(kOutputBytes) + " bytes", /*failed=*/true};
    }
    const auto end = sandbox_end(*run.status, options_.policy.level);
    const std::string output(internal::trim(run.output));
    if (end == SandboxEnd::Done) return {output.empty() ? "(it printed nothing)" : output};
    const auto words = last_line(run.errors);
    const auto error = "error: " + (end == SandboxEnd::Failed && !words.empty() ? words : describe(end));
    return {output.empty() ? error : output + "\n" + error, /*failed=*/true};
  }
  void interrupt() override { interrupted_ = true; }

 private:
  std::string seconds() const {
    std::ostringstream out;
    out << static_cast<double>(options_.wall_ms) / 1000.0;
    return out.str();
  }

  const std::string name_;
  code::TrialOptions options_;
  std::atomic<bool> interrupted_ = false;
};

}  // namespace

std::unique_ptr<Tool> make_python(const ToolSpec& spec) { return std::make_unique<Python>(spec); }

}  // namespace sluice::rewards::tools
