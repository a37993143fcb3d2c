#include "tests/app/sluice_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;

constexpr size_t kCorpusBytes = 60'000;
constexpr const char* kRecipe = R"(name = "tiny"
seed = 3
rewards = [{ use = "real_words" }]
model = { hidden_size = 32, layers = 2, heads = 2, intermediate_size = 64, max_position = 64 }
tokenizer = { train = "characters" }
data = { use = "text", path = "corpus.txt", prompt_chars = 8, window_chars = 32 }
rollout = { prompts_per_step = 4, group_size = 8, max_new_tokens = 48 }
evaluation = { prompts = 8 }
checkpoint = { every = 5 }

[[stages]]
use = "sft"
steps = 6
batch = { examples_per_step = 64, append_eos = false }
optim = { lr = 3e-3 }

[[stages]]
use = "grpo"
steps = 20
algorithm = { beta = 0.05, mix_every = 3, mix_alpha = 0.5 }
optim = { lr = 1e-3 }
)";

std::string read_if_there(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// The parent of a process, from /proc/PID/stat; the program's name before it may hold anything but ends with
// ')'.
pid_t parent_of(const fs::path& proc) {
  const std::string stat = read_if_there(proc / "stat");
  const auto name_end = stat.rfind(')');
  if (name_end == std::string::npos) return -1;
  std::istringstream rest(stat.substr(name_end + 1));
  std::string state;
  pid_t parent = -1;
  rest >> state >> parent;
  return parent;
}

std::vector<std::string> command_of(const fs::path& proc) {
  std::vector<std::string> words;
  std::istringstream text(read_if_there(proc / "cmdline"));
  for (std::string word; std::getline(text, word, '\0');) words.push_back(word);
  return words;
}

// Every process of the machine and its parent.
std::map<pid_t, pid_t> parents() {
  std::map<pid_t, pid_t> all;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (!std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c); })) continue;
    all[static_cast<pid_t>(std::stol(name))] = parent_of(entry.path());
  }
  return all;
}

// A name for the output of the next process of this test.
std::string next_output() {
  static int count = 0;
  return "output-" + std::to_string(++count);
}

}  // namespace

Stranger::Stranger(pid_t pid, std::vector<std::string> command)
    : pidfd_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))), command_(std::move(command)) {}

Stranger::Stranger(Stranger&& other) noexcept
    : pidfd_(std::exchange(other.pidfd_, -1)), command_(other.command_) {}

Stranger::~Stranger() {
  if (pidfd_ >= 0) ::close(pidfd_);
}

bool Stranger::runs(const std::string& word) const {
  return std::any_of(command_.begin(), command_.end(),
                     [&](const std::string& part) { return part == word || part.starts_with(word + " "); });
}

bool Stranger::gone(Millis timeout_ms) const {
  pollfd entry{.fd = pidfd_, .events = POLLIN, .revents = 0};
  return pidfd_ < 0 || ::poll(&entry, 1, static_cast<int>(timeout_ms)) == 1;
}

void Stranger::signal(int number) const {
  ASSERT_EQ(::syscall(SYS_pidfd_send_signal, pidfd_, number, nullptr, 0), 0) << command_.front();
}

Workspace::Workspace() {
  const auto text = read_file(fs::path(SLUICE_SOURCE_DIR) / "data" / "text" / "tinyshakespeare.txt");
  write_plain(root_ / "corpus.txt", text.substr(0, kCorpusBytes));
  write_plain(root_ / "recipe.toml", kRecipe);
}

std::vector<Json> Workspace::metrics(const std::string& name) const {
  std::vector<Json> lines;
  const std::string text = read_if_there(run(name) / "metrics.jsonl");
  size_t begin = 0;
  for (size_t end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    lines.push_back(parse_json(text.substr(begin, end - begin), "metrics.jsonl"));
  }
  return lines;
}

std::vector<Stranger> Workspace::processes() const {
  std::vector<Stranger> found;
  for (const auto& [pid, parent] : parents()) {
    const auto proc = fs::path("/proc") / std::to_string(pid);
    std::error_code gone;
    if (fs::read_symlink(proc / "cwd", gone) == root_) found.emplace_back(pid, command_of(proc));
  }
  return found;
}

RunCopy::RunCopy(const Workspace& original) {
  fs::create_directories(workspace_.run());
  fs::copy(original.run(), workspace_.run(), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
}

std::map<std::string, std::string> contents(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files[fs::relative(entry.path(), folder)] = sha256_file(entry.path());
  }
  return files;
}

Sluice::Sluice(const Workspace& workspace, std::vector<std::string> arguments,
               std::map<std::string, std::string> environment)
    : workspace_(workspace), out_(workspace / next_output()), err_(out_.string() + ".err") {
  const int out = ::open(out_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  watch_ = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  EXPECT_GE(::inotify_add_watch(watch_, out_.c_str(), IN_MODIFY), 0);
  arguments.insert(arguments.begin(), SLUICE_BINARY);
  process_ = Subprocess::start({.command = std::move(arguments),
                                .environment = std::move(environment),
                                .working_directory = workspace / "",
                                .output = err_,
                                .stdout_fd = out});
  ::close(out);
}

Sluice::~Sluice() {
  process_.reset();
  ::close(watch_);
}

std::string Sluice::out() const { return read_if_there(out_); }
std::string Sluice::err() const { return read_if_there(err_); }

bool Sluice::wait_until(const std::function<bool()>& condition) {
  const SteadyClock clock;
  for (const Millis until = clock.now_ms() + kLongMs; clock.now_ms() < until;) {
    char events[4096];
    while (::read(watch_, events, sizeof events) > 0) {
    }
    if (condition()) return true;
    if (process_->wait(0)) return condition();
    pollfd waits[] = {{watch_, POLLIN, 0}, {process_->pidfd(), POLLIN, 0}};
    ::poll(waits, 2, static_cast<int>(until - clock.now_ms()));
  }
  return false;
}

bool Sluice::wait_for_step(const std::string& stage, int64_t stage_step, const std::string& run) {
  return wait_until([&] {
    const auto lines = workspace_.metrics(run);
    return std::any_of(lines.begin(), lines.end(), [&](const Json& line) {
      return line.at("stage") == stage && line.at("stage_step") >= stage_step;
    });
  });
}

int Sluice::exit_code(Millis timeout_ms) {
  const auto status = process_->wait(timeout_ms);
  if (!status) return -1;
  return status->signal != 0 ? 128 + status->signal : status->code;
}

std::vector<Stranger> Sluice::descendants() const {
  const auto all = parents();
  const auto descends = [&](pid_t pid) {
    for (auto at = all.find(pid); at != all.end(); at = all.find(at->second)) {
      if (at->second == process_->pid()) return true;
    }
    return false;
  };
  std::vector<Stranger> found;
  for (const auto& [pid, parent] : all) {
    if (descends(pid)) found.emplace_back(pid, command_of("/proc/" + std::to_string(pid)));
  }
  return found;
}

Finished sluice(const Workspace& workspace, std::vector<std::string> arguments,
                std::map<std::string, std::string> environment) {
  Sluice process(workspace, std::move(arguments), std::move(environment));
  const int code = process.exit_code();
  return {code, process.out(), process.err()};
}

void sluice_until(const Workspace& workspace, const std::vector<std::string>& arguments,
                  const std::string& stage, int64_t stage_step, int signal, const std::string& run) {
  Sluice process(workspace, arguments);
  ASSERT_TRUE(process.wait_for_step(stage, stage_step, run)) << process.out() << process.err();
  process.process().signal(signal);
  ASSERT_EQ(process.exit_code(), 128 + signal) << process.out() << process.err();
}

bool law_closes(const Json& counts, const std::string& prefix) {
  const auto count = [&](const char* name) { return counts.at(prefix + name).get<double>(); };
  return count("issued") ==
         count("trained") + count("queued") + count("leased") + count("dropped") + count("quarantined");
}

void expect_steps_sum_to_the_time(const Workspace& workspace, const std::string& stage,
                                  const std::vector<std::string>& parts) {
  double steps_s = 0, first_s = 0, last_s = 0;
  for (const auto& line : workspace.metrics()) {
    if (line.at("stage") != stage) continue;
    double parts_s = 0;
    for (const auto& [name, value] : line.items()) {
      if (name.starts_with("time/")) parts_s += value.get<double>();
    }
    const double step_s = line.at("step_time"), wall_s = line.at("wall_time");
    EXPECT_NEAR(parts_s, step_s, 0.02 * step_s);
    for (const auto& part : parts) EXPECT_TRUE(line.contains("time/" + part)) << part;
    if (first_s == 0) {
      first_s = wall_s;
    } else {
      steps_s += step_s;
    }
    last_s = wall_s;
  }
  EXPECT_GT(steps_s, 0);
  EXPECT_NEAR(steps_s, last_s - first_s, 0.02 * (last_s - first_s) + 0.03);
}

std::map<std::string, std::multiset<std::string>> traced_by_process(const Workspace& workspace) {
  std::map<int64_t, std::string> processes;
  std::map<std::string, std::multiset<std::string>> names;
  const Json trace = read_json(workspace.run() / "trace.json");
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") != "M") continue;
    processes[event.at("pid")] = event.at("args").at("name");
    names[processes[event.at("pid")]];
  }
  for (const auto& event : trace.at("traceEvents")) {
    if (event.at("ph") == "X") names[processes.at(event.at("pid"))].insert(event.at("name"));
  }
  return names;
}

}  // namespace sluice::app
