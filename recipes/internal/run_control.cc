#include "recipes/internal/run_control.h"

#include <array>
#include <csignal>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/nearest.h"
#include "base/terminal_text.h"

namespace sluice::recipes {
namespace {

constexpr size_t kShown = 60;  // bytes of what is no command
constexpr std::array<const char*, 4> kCommands{"pause", "resume", "checkpoint", "stop"};

std::filesystem::path record_of(const RunDirectory& run) { return run.root() / "commands.json"; }

}  // namespace

std::string last_command_taken(const RunDirectory& run) {
  const auto record = record_of(run);
  if (!std::filesystem::exists(record)) return "";
  return json_member<std::string>(read_json(record), "taken", record.string());
}

RunControl::RunControl(const RunDirectory& run, const std::string& stage, StageMonitor& monitor,
                       const StopRequest& stop)
    : run_(run), stage_(stage), monitor_(monitor), stop_(stop) {}

RunControl::Next RunControl::next(int64_t done) {
  take_up();
  while (!waiting_.empty()) {
    if (waiting_.front().text == "checkpoint") return Next::Save;
    obey(waiting_.front(), done);
    waiting_.pop_front();
  }
  if (signal() != 0) return Next::Stop;
  return paused_ ? Next::Wait : Next::GoOn;
}

void RunControl::take_up() {
  auto* redis = monitor_.redis();
  if (redis == nullptr) return;
  for (auto& command : redis->take_commands()) waiting_.push_back(std::move(command));
  const auto taken = redis->last_taken();
  if (taken == taken_) return;
  write_file_atomically(record_of(run_), Json{{"taken", taken}}.dump() + "\n");
  taken_ = taken;
}

void RunControl::obey(const monitor::RunCommand& command, int64_t done) {
  const auto where = " after step " + std::to_string(done) + " of " + stage_;
  if (command.text == "pause") {
    paused_ = true;
    answer(command, "done", "paused" + where + "; resume goes on");
  } else if (command.text == "resume") {
    answer(command, "done", (paused_ ? "goes on" : "was not paused, goes on") + where);
    paused_ = false;
  } else if (command.text == "stop") {
    told_to_stop_ = true;
    answer(command, "done", "stops with a checkpoint" + where + "; sluice run --resume goes on");
  } else {
    answer(command, "refused",
           (command.text.empty() ? std::string("it has no field `do`")
                                 : "there is no command \"" + inert(command.text.substr(0, kShown)) + "\"" +
                                       did_you_mean(command.text, kCommands)) +
               " (pause, resume, checkpoint, stop)");
  }
}

void RunControl::saved() {
  const auto latest = std::filesystem::read_symlink(run_.checkpoints() / "latest");
  answer(waiting_.front(), "done", "the newest checkpoint is " + latest.filename().string());
  waiting_.pop_front();
}

void RunControl::answer(const monitor::RunCommand& command, const std::string& result,
                        const std::string& text) {
  monitor_.redis()->answer(command, result, text);
  monitor_.say("command " + command.id + ": " + result + ": " + text);
}

int RunControl::signal() const {
  const int signal = stop_();
  return signal == 0 && told_to_stop_ ? SIGTERM : signal;
}

}  // namespace sluice::recipes
