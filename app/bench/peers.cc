#include "app/bench/peers.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <sstream>
#include <string_view>

#include "app/bench/load.h"
#include "base/error.h"
#include "base/files.h"
#include "base/json_lines.h"
#include "base/subprocess.h"
#include "base/temporary_folder.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr Millis kLongestMs = 30 * 60'000;
constexpr Millis kGraceMs = 2'000;

std::string last_line(const fs::path& file) {
  std::istringstream text(fs::exists(file) ? read_file(file) : "");
  std::string last;
  for (std::string line; std::getline(text, line);) {
    if (!line.empty()) last = line;
  }
  return last;
}

// The reason for which it failed, or "". The kit's libraries are found by what its environment's activate
// sets.
std::string run_python(const fs::path& python, const std::vector<std::string>& arguments, const fs::path& out,
                       const fs::path& err, const std::map<std::string, std::string>& environment = {}) {
  const auto activate = python.parent_path() / "activate";
  SubprocessOptions options{.command = {"bash", "-c", "[ ! -f \"$0\" ] || source \"$0\"; exec \"$@\"",
                                        activate.string(), python.string()},
                            .environment = environment,
                            .output = err};
  options.command.insert(options.command.end(), arguments.begin(), arguments.end());
  options.stdout_fd = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  require<EnvironmentError>(options.stdout_fd >= 0, "bench: cannot write ", out.string());
  auto child = Subprocess::start(options);
  ::close(options.stdout_fd);
  const auto status = child.wait(kLongestMs);
  if (!status) {
    child.stop(kGraceMs);
    return "not done after " + std::to_string(kLongestMs / 60'000) + " minutes";
  }
  return status->ok() ? "" : describe(*status) + ": " + last_line(err);
}

// One call of bench_generate.py.
struct GenerateCall {
  const char* peer;
  const char* wide;    // dtypes of 4 bytes a weight
  const char* narrow;  // and of less
  const char* mode;    // null: the peer's own
};
constexpr GenerateCall kGenerateCalls[] = {
    {"hf", "fp32", "bf16", nullptr},
    {"llamacpp", "fp32", "bf16,f16,q8_0", nullptr},
    {"ct2", "fp32", "int8", nullptr},
    {"ct2", "fp32", "int8", "split"},  // a replica on each thread
};

// One call of bench_train.py or bench_score.py.
struct LearnCall {
  const char* peer;
  const char* head;
  std::map<std::string, std::string> environment;
};
const std::vector<LearnCall>& learn_calls() {
  static const std::vector<LearnCall> calls = {
      {"trl", "trl", {}},
      // A loop by hand, with a malloc that gives no page back.
      {"torch",
       "plain",
       {{"MALLOC_MMAP_MAX_", "0"},
        {"MALLOC_TRIM_THRESHOLD_", "100000000000"},
        {"MALLOC_TOP_PAD_", "268435456"}}},
  };
  return calls;
}

std::vector<std::string> arguments_of(const fs::path& script, const fs::path& model, const PeerWork& work) {
  return {script.string(),
          "--model",
          model.string(),
          "--batch",
          std::to_string(work.batch),
          "--prompt",
          std::to_string(work.prompt),
          "--new",
          std::to_string(work.new_tokens),
          "--threads",
          std::to_string(work.threads),
          "--reps",
          std::to_string(work.reps)};
}

fs::path find_python(const PeersOptions& options) {
  if (!options.python.empty()) return options.python;
  const auto beside = fs::path(options.directory) / ".venv" / "bin" / "python";
  if (fs::exists(beside)) return beside;
  const char* named = std::getenv("SLUICE_PEERS_PYTHON");
  require<UsageError>(named != nullptr, "bench: ", beside.string(),
                      " is not there; run setup.sh of the kit, or name a Python with --peers-python");
  return named;
}

}  // namespace

int PeerResult::bytes_per_weight() const {
  if (dtype == "fp32") return 4;
  return dtype == "bf16" || dtype == "f16" ? 2 : 1;
}

Peers::Peers(const PeersOptions& options)
    : directory_(options.directory),
      python_(find_python(options)),
      models_(options.models.empty() ? directory_ / "models" : fs::path(options.models)) {
  require<UsageError>(fs::exists(directory_ / "bench_generate.py"), "bench: no bench_generate.py in ",
                      directory_.string());
  require<UsageError>(fs::exists(python_), "bench: there is no ", python_.string());
}

bool Peers::make_model(const std::string& model) const {
  const auto made = models_ / model, temporary = models_ / (model + ".tmp");
  if (fs::exists(made)) return true;
  std::cerr << "sluice: writing the peers' model " << made.string() << '\n';
  const TemporaryFolder scratch("peers");  // for what a script prints
  std::string fault;
  std::error_code error;
  fs::create_directories(models_, error);
  if (error) {
    fault = error.message() + "; name another folder with --peers-models";
  } else {
    fs::remove_all(temporary);
    fault = run_python(
        python_, {(directory_ / "make_model.py").string(), "--size", model, "--out", temporary.string()},
        scratch.path() / "out", scratch.path() / "err");
    if (fault.empty()) fs::rename(temporary, made);
  }
  if (!fault.empty()) {
    std::cerr << "sluice: no peers of model " << model << ": " << made.string() << ": " << fault << '\n';
  }
  return fault.empty();
}

std::vector<Json> Peers::run(const std::string& what, const std::vector<std::string>& arguments,
                             const std::map<std::string, std::string>& environment) const {
  const TemporaryFolder scratch("peers");  // for what a script prints
  const auto out = scratch.path() / "out";
  const std::string fault = run_python(python_, arguments, out, scratch.path() / "err", environment);
  if (!fault.empty()) std::cerr << "sluice: peer " << what << " is left out: " << fault << '\n';
  std::vector<Json> lines;
  for_each_json_line(out, [&](int64_t, Json line) {
    const double others = json_member_or<double>(line, "others", 0.0, what);
    if (others > kQuietCores) {
      std::cerr << "sluice: warning: others kept " << others << " cores busy while " << what << " "
                << json_member<std::string>(line, "dtype", what) << " was measured\n";
    }
    lines.push_back(std::move(line));
  });
  return lines;
}

std::vector<PeerResult> Peers::generate(const PeerWork& work) const {
  std::vector<PeerResult> results;
  for (const auto& call : kGenerateCalls) {
    if (call.mode != nullptr && (work.threads < 2 || work.batch < work.threads)) continue;
    auto arguments = arguments_of(directory_ / "bench_generate.py", models_ / work.model, work);
    const std::string dtypes = call.wide + (work.narrow ? std::string(",") + call.narrow : "");
    arguments.insert(arguments.end(), {"--peer", call.peer, "--dtype", dtypes});
    if (call.mode != nullptr) arguments.insert(arguments.end(), {"--mode", call.mode});
    const std::string what = call.peer;
    for (const auto& line : run(what, arguments)) {
      results.push_back({.peer = json_member<std::string>(line, "peer", what),
                         .dtype = json_member<std::string>(line, "dtype", what),
                         .decode_tok_s = json_member<double>(line, "decode_tok_s", what),
                         .prompt_tok_s = json_member<double>(line, "prompt_tok_s", what),
                         .prompt_s = json_member<double>(line, "prompt_s", what)});
    }
  }
  return results;
}

std::vector<PeerResult> Peers::learn(const PeerWork& work) const {
  const char* script = work.task == PeerTask::Learn ? "bench_train.py" : "bench_score.py";
  std::vector<PeerResult> results;
  for (const auto& call : learn_calls()) {
    auto arguments = arguments_of(directory_ / script, models_ / work.model, work);
    arguments.insert(arguments.end(), {"--lm-head", call.head});
    if (work.ragged) arguments.push_back("--ragged");
    const std::string what = call.peer;
    for (const char* dtype : {"fp32", "bf16"}) {
      if (dtype == std::string_view("bf16") && !work.narrow) continue;
      auto own = arguments;
      own.insert(own.end(), {"--dtype", dtype});
      for (const auto& line : run(what, own, call.environment)) {
        results.push_back({.peer = call.peer,
                           .dtype = json_member<std::string>(line, "dtype", what),
                           .tokens_s = json_member<double>(line, "tokens_s", what)});
      }
    }
  }
  return results;
}

// TRL's trainer, in float32 and with its own bfloat16.
std::vector<PeerResult> Peers::grpo(const PeerWork& work) const {
  const std::string what = "trl";
  std::vector<PeerResult> results;
  for (const bool narrow : {false, true}) {
    std::vector<std::string> arguments = {(directory_ / "bench_trl.py").string(), "--model",
                                          (models_ / work.model).string(), "--beta", "0.04"};
    const std::pair<const char*, int64_t> numbers[] = {{"--prompts", work.batch / work.group},
                                                       {"--group", work.group},
                                                       {"--prompt", work.prompt},
                                                       {"--new", work.new_tokens},
                                                       {"--threads", work.threads}};
    for (const auto& [name, number] : numbers)
      arguments.insert(arguments.end(), {name, std::to_string(number)});
    if (narrow) arguments.emplace_back("--bf16");
    for (const auto& line : run(what, arguments)) {
      results.push_back({.peer = what,
                         .dtype = json_member<std::string>(line, "dtype", what),
                         .samples_s = json_member<double>(line, "samples_s", what)});
    }
  }
  return results;
}

std::vector<PeerResult> Peers::measure(const PeerWork& work) const {
  if (!make_model(work.model)) return {};
  if (work.task == PeerTask::Grpo) return grpo(work);
  return work.task == PeerTask::Generate ? generate(work) : learn(work);
}

}  // namespace sluice::app
