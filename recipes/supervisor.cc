#include "recipes/supervisor.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/failpoint.h"
#include "base/files.h"
#include "base/pulse.h"
#include "base/shell_word.h"
#include "base/socket_path.h"
#include "base/state_dump.h"
#include "base/subprocess.h"
#include "base/terminal.h"
#include "monitor/redis_server.h"
#include "recipes/internal/environment.h"
#include "recipes/internal/out_of_memory.h"
#include "recipes/internal/silence_watch.h"
#include "recipes/report.h"
#include "recipes/run_page.h"
#include "recipes/run_record.h"
#include "recipes/stages.h"
#include "recipes/summary.h"

namespace sluice::recipes {
namespace {

constexpr Millis kStepGraceMs = 60'000;  // for the learner to finish its step and write a checkpoint
constexpr Millis kActorGraceMs = 3'000;
constexpr Millis kRankGraceMs = 5'000;  // for a rank to notice that another is gone, or has ended
constexpr Millis kLastWordsMs = 500;    // of a process that is to be killed
constexpr uintmax_t kRoomForWords = 64 << 10;
constexpr size_t kMaxDeaths = 5;           // of one actor
constexpr Millis kDeathWindowMs = 60'000;  // within this time

// The line of a learner's progress may stand where this is printed.
void say(const std::string& text) {
  if (is_interactive(STDOUT_FILENO)) std::cout << "\r\x1b[K";
  std::cout << text << std::endl;
}

// Why a process ended, as its log says; on a full disk that may not have found room.
std::string last_words(const std::filesystem::path& log) {
  const auto left = std::filesystem::space(log.parent_path()).available;
  if (left < kRoomForWords) {
    return std::string(std::strerror(ENOSPC)) + " (" + std::to_string(left) + " bytes are left)";
  }
  std::istringstream lines(read_file(log));
  std::string last;
  for (std::string line; std::getline(lines, line);) last = line;
  return last;
}

// A process that works for a stage, and whether it still does.
class Role {
 public:
  Role(const RunDirectory& run, const std::string& stage, const std::string& role, int64_t index,
       const std::map<std::string, std::string>& environment = {})
      : name_(role + "-" + std::to_string(index)),
        pulse_(forgotten(run.pulse(role, index))),
        process_(Subprocess::start(options(run, stage, role, index, environment))),
        watch_(process_.pid(), pulse_) {}

  Subprocess& process() { return process_; }

  // Kills a process that has fallen silent, and says why.
  void watch(Millis now) {
    const auto silence = watch_.look(now);
    if (silence.empty() || process_.wait(0)) return;
    std::cerr << "sluice: " << name_ << ' ' << silence << "; it is killed\n";
    process_.signal(SIGUSR2);  // if it still can, it says more
    process_.wait(kLastWordsMs);
    process_.signal(SIGKILL);
  }

  // What it is doing, here and by itself.
  void ask() {
    const auto pulse = read_pulse(pulse_);
    say(name_ + " (pid " + std::to_string(process_.pid()) + "): " + (pulse ? pulse->doing : "starts"));
    if (pulse) process_.signal(SIGUSR2);  // before its first beat the signal would end it
  }

 private:
  static SubprocessOptions options(const RunDirectory& run, const std::string& stage, const std::string& role,
                                   int64_t index, const std::map<std::string, std::string>& environment) {
    SubprocessOptions options{
        .command = {own_executable().string(), role, run.root().string(), "--stage", stage},
        .environment = environment};
    options.command.insert(options.command.end(),
                           {role == "actor" ? "--index" : "--rank", std::to_string(index)});
    if (role == "actor" || index > 0) options.output = run.log(role, index);
    return options;
  }

  static std::filesystem::path forgotten(std::filesystem::path pulse) {
    std::filesystem::remove(pulse);
    return pulse;
  }

  const std::string name_;
  const std::filesystem::path pulse_;
  Subprocess process_;
  internal::SilenceWatch watch_;
};

// An actor's process, started again when it dies.
class ActorSlot {
 public:
  ActorSlot(const RunDirectory& run, std::string stage, int64_t index)
      : run_(run), stage_(std::move(stage)), index_(index) {
    start({});
  }

  Role& role() { return *role_; }
  Subprocess& process() { return role_->process(); }

  // Looks after the process: one that died is replaced. Throws when it keeps dying.
  void look(Millis now) {
    role_->watch(now);
    const auto status = process().wait(0);
    if (!status || status->ok()) return;  // it ends well only when the learner has told it to
    // What the machine lacks is no prompt's fault: another process would end alike, and count against its
    // groups.
    const auto log = run_.log("actor", index_);
    if (status->code == static_cast<int>(ExitCode::Environment)) {
      fail<EnvironmentError>("actor-", index_, ": ", last_words(log), "; see ", log.string());
    }
    deaths_.push_back(now);
    while (now - deaths_.front() > kDeathWindowMs) deaths_.pop_front();
    require(deaths_.size() < kMaxDeaths, "actor-", index_, " died ", deaths_.size(), " times within ",
            kDeathWindowMs / 1000, " s, last: ", describe(*status), "; see ",
            run_.log("actor", index_).string());
    say("actor-" + std::to_string(index_) + " ended (" + describe(*status) + "), starting another");
    start({{kFailVariable, ""}});  // what one process was told to do is not done again and again
  }

 private:
  void start(const std::map<std::string, std::string>& environment) {
    role_.reset();  // its end, before another writes the same pulse
    role_.emplace(run_, stage_, "actor", index_, environment);
  }

  const RunDirectory& run_;
  const std::string stage_;
  const int64_t index_;
  std::optional<Role> role_;
  std::deque<Millis> deaths_;
};

// The ranks of a stage's learner: they end together, each of them by what rank 0 says, or none of them well.
class Learner {
 public:
  Learner(const RunDirectory& run, const StageSpec& stage) : run_(run), stage_(stage.name) {
    std::filesystem::remove(run.meeting());
    for (int64_t rank = 0; rank < stage.ranks.count; ++rank)
      ranks_.emplace_back(run, stage.name, "learner", rank);
  }

  // How rank 0 ended; or another, when that one did not end well and so ended all of them. Empty while they
  // live.
  std::optional<ExitStatus> look(Millis now) {
    for (auto& rank : ranks_) rank.watch(now);
    const bool lost = std::ranges::any_of(ranks_, [](Role& rank) {
      const auto status = rank.process().wait(0);
      return status && !is_end(*status);
    });
    if (!lost && !ranks_.front().process().wait(0)) return std::nullopt;
    return end();
  }

  void signal(int number) { ranks_.front().process().signal(number); }
  // Within the time, or killed; then it is said.
  ExitStatus wait(Millis timeout_ms) {
    if (ranks_.front().process().wait(timeout_ms)) return end();
    std::cerr << "sluice: the learner did not end its step within " << timeout_ms / 1000
              << " s and is killed; --resume goes on from the last checkpoint\n";
    for (auto& rank : ranks_) rank.process().stop(0);
    return *ranks_.front().process().wait(0);
  }

  void add_to(std::vector<pollfd>& waits) {
    for (auto& rank : ranks_) {
      if (!rank.process().wait(0)) waits.push_back({rank.process().pidfd(), POLLIN, 0});
    }
  }
  void ask() {
    for (auto& rank : ranks_) rank.ask();
  }

 private:
  // What a rank ends with that was told to; rank 0 itself says more.
  static bool is_end(const ExitStatus& status) {
    return status.signal == 0 && (status.code == 0 || status.code == 128 + SIGINT ||
                                  status.code == 128 + SIGTERM || status.code == BeginAgain::kStatus);
  }

  // Lets all say what they have to say. The one that was killed is to blame, else rank 0 knows best.
  ExitStatus end() {
    for (auto& rank : ranks_) rank.process().wait(kRankGraceMs);
    std::optional<size_t> blamed;
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      const auto status = ranks_[rank].process().wait(0);
      if (!status || is_end(*status)) continue;
      if (status->signal != 0 || !blamed) blamed = rank;
      if (status->signal != 0) break;
    }
    for (auto& rank : ranks_) rank.process().stop(0);
    const ExitStatus status = *ranks_[blamed.value_or(0)].process().wait(0);
    if (blamed.value_or(0) > 0) {
      std::cerr << "sluice: rank " << *blamed << " of the learner of stage " << stage_ << " ended ("
                << describe(status) << ") and all of them with it";
      if (status.signal == 0)
        std::cerr << ": " << last_words(run_.log("learner", static_cast<int64_t>(*blamed)));
      std::cerr << '\n';
    }
    return status;
  }

  const RunDirectory& run_;
  const std::string stage_;
  std::deque<Role> ranks_;
};

// The processes of one stage, from start to end.
class StageProcesses {
 public:
  StageProcesses(const RunDirectory& run, const StageSpec& stage, StopSignals& signals)
      : signals_(signals), address_(run.rollout_address(stage)), learner_(run, stage) {
    if (!stage.has_actors()) return;
    for (int64_t i = 0; i < stage.rollout.actors; ++i) actors_.emplace_back(run, stage.name, i);
  }

  // How the learner ended. Actors are kept alive while it lives and ended after it.
  ExitStatus run() {
    try {
      const ExitStatus ended = watch();
      end_actors();
      return ended;
    } catch (...) {  // an actor that cannot be kept alive: what was learned is kept
      stop_learner(SIGTERM);
      end_actors();
      throw;
    }
  }

 private:
  ExitStatus watch() {
    std::optional<ExitStatus> ended;
    while (!(ended = learner_.look(clock_.now_ms()))) {
      wait_for_something();
      if (asked_.exchange(false)) answer();
      if (const int signal = signals_.received()) return stop_learner(signal);
      // An actor that ends while the learner is ending as well was told to: look at the learner first.
      if ((ended = learner_.look(clock_.now_ms()))) break;
      for (auto& actor : actors_) actor.look(clock_.now_ms());
    }
    return *ended;
  }

  // Until a process ends or a signal comes; at most a second.
  void wait_for_something() {
    std::vector<pollfd> waits{{signals_.fd(), POLLIN, 0}};
    learner_.add_to(waits);
    for (auto& actor : actors_) {
      if (!actor.process().wait(0)) waits.push_back({actor.process().pidfd(), POLLIN, 0});
    }
    poll(waits.data(), waits.size(), 1000);
  }

  ExitStatus stop_learner(int signal) {
    say("stopping after this step: a checkpoint is written, --resume goes on from it");
    learner_.signal(signal);
    return learner_.wait(kStepGraceMs);
  }

  // To SIGUSR2.
  void answer() {
    learner_.ask();
    for (auto& actor : actors_) actor.role().ask();
  }

  // All are asked before any is waited for.
  void end_actors() {
    for (auto& actor : actors_) actor.process().signal(SIGTERM);
    for (auto& actor : actors_) actor.process().stop(kActorGraceMs);
    remove_socket();
  }

  // ZeroMQ leaves the file of an ipc address behind, and so does a learner that was killed.
  void remove_socket() const {
    constexpr std::string_view kIpc = "ipc://";
    std::error_code ignored;
    if (address_.starts_with(kIpc)) std::filesystem::remove(address_.substr(kIpc.size()), ignored);
  }

  StopSignals& signals_;
  const std::string address_;  // of the rollouts
  const SteadyClock clock_;
  Learner learner_;
  std::deque<ActorSlot> actors_;
  std::atomic<bool> asked_ = false;
  const Describes describes_{[this] {
    asked_ = true;
    return std::string("supervises; the processes of the run answer within a second");
  }};
};

std::optional<monitor::RedisServer> start_redis(const RunDirectory& run, const Recipe& recipe) {
  if (recipe.monitor.redis != "private") return std::nullopt;
  std::string why;
  auto server = monitor::RedisServer::start(run.redis_socket(), run.log("redis", 0), why);
  if (!server) {
    say("no Redis: " + why + "; the run goes on without it");
    return server;
  }
  say("watch: redis-cli -s " + shell_word(server->socket().string()) + " hgetall " +
      shell_quoted("sluice:{" + recipe.name + "}:state"));
  return server;
}

std::unique_ptr<ServedPage> serve_page(const RunDirectory& run, const Recipe& recipe) {
  if (!recipe.monitor.web) return nullptr;
  std::string url, why;
  auto page = ServedPage::start(run, recipe.monitor, url, why);
  say(page ? "page: " + url : "no page: " + why + "; the run goes on without it");
  if (page) page->name_in_run();
  return page;
}

// Of a run that has ended, also of one that did not end well; it is no part of it.
void try_report(const RunDirectory& run, const Recipe& recipe) {
  try {
    write_report(run, recipe);
    say("report: " + run.report().string());
  } catch (const std::exception& error) {
    std::cerr << "sluice: no report was written: " << error.what() << '\n';
  }
}

// What the processes of a stage that is done were doing, and how things stood then.
void forget_present(const RunDirectory& run) {
  for (const auto& entry : std::filesystem::directory_iterator(run.root() / "pulse"))
    std::filesystem::remove(entry.path());
  std::filesystem::remove(run.state());
}

int run_stages(const RunDirectory& run, const Recipe& recipe, StopSignals& signals) {
  while (const auto name = run.next_stage(recipe)) {
    forget_present(run);
    const auto& stage = recipe.stage(*name);
    say("== " + stage.name + (stage.trains() ? ", " + std::to_string(stage.steps) + " steps" : ""));
    const ExitStatus status = StageProcesses(run, stage, signals).run();
    if (signals.received() != 0) return 128 + signals.received();
    if (status.signal != 0) {
      fail("the learner of stage ", stage.name, " was ", describe(status), "; continue with --resume",
           status.signal == SIGKILL ? ". Where that was the system, out of memory: " +
                                          internal::stage_memory_advice(stage, recipe.model.lora.has_value())
                                    : "");
    }
    if (status.code == BeginAgain::kStatus) continue;
    if (status.code != 0) return status.code;
    require(run.stage_result(*name).has_value(), "stage ", *name, " ended without a result in ",
            run.root().string());
  }
  forget_present(run);
  return 0;
}

// Kept by the run; who resumes it elsewhere is told that its bits may be others.
void note_environment(const OpenedRun& opened, const Recipe& recipe) {
  const auto file = opened.directory.environment();
  const Json now = internal::environment(recipe);
  if (opened.resumed && std::filesystem::exists(file)) {
    const auto changed = internal::differences(read_json(file), now);
    for (const auto& line : changed) say("this environment is another: " + line);
    if (!changed.empty()) say("so the weights may differ in their last bits from those of an unbroken run");
  }
  write_file_atomically(file, now.dump(2) + "\n");
}

// All stages and what they came to; the summary's seconds go on from those of the processes before.
int run_to_end(const RunDirectory& run, const Recipe& recipe, StopSignals& signals) {
  const SteadyClock clock;
  const Millis began = clock.now_ms();
  const double before = finished_seconds(run, recipe);
  auto redis = start_redis(run, recipe);
  const auto page = serve_page(run, recipe);
  const int code = run_stages(run, recipe, signals);
  if (code == 0) {
    // A stage that was stopped and resumed knows its own time better than this process does.
    write_summary(run, recipe,
                  std::max(finished_seconds(run, recipe),
                           before + static_cast<double>(clock.now_ms() - began) / 1000.0));
    say(summary_table(run, recipe));
  }
  return code;
}

// How the run ended, for those who ask why.
void note_end(const RunDirectory& run, const Recipe& recipe, RunRecord record, int code,
              const std::string& cause) {
  record.code = code;
  record.cause = cause;
  record.ended = wall_seconds();
  try {
    write_run_record(run.root(), record);
  } catch (const Error& error) {  // a full disk may be what ended it
    std::cerr << "sluice: how the run ended is not kept: " << error.what() << '\n';
  }
  try_report(run, recipe);
}

}  // namespace

int supervise(const OpenedRun& opened, const Recipe& recipe, StopSignals& signals,
              const std::string& resume) {
  const RunDirectory& run = opened.directory;
  say(describe(recipe) + (opened.resumed ? "resumed: " : "run: ") + run.root().string());
  say("watch: tail -f " + shell_word(run.metrics().string()));
  if (!run.next_stage(recipe) && std::filesystem::exists(run.summary())) {
    say(summary_table(run, recipe));
    return 0;
  }
  note_environment(opened, recipe);
  const RunRecord record{.resume = resume, .started = wall_seconds()};
  write_run_record(run.root(), record);
  try {
    const int code = run_to_end(run, recipe, signals);
    const auto log = run.log("learner", 0);  // which says why it failed, if it came so far
    const bool says_why = code > 0 && code < 128 && std::filesystem::exists(log);
    note_end(run, recipe, record, code, says_why ? last_words(log) : "");
    return code;
  } catch (const Error& error) {
    note_end(run, recipe, record, static_cast<int>(error.code()), error.what());
    throw;
  }
}

}  // namespace sluice::recipes
