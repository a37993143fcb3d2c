#include "app/run_doctor.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <vector>

#include "base/error.h"
#include "base/terminal.h"
#include "base/terminal_text.h"
#include "recipes/audit.h"
#include "recipes/run_view.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using recipes::RunState;
using recipes::RunView;

constexpr std::streamoff kTail = 16 << 10;
constexpr size_t kLabel = 12;

// The last line of a log that complains, or its last one.
std::string last_words(const fs::path& log) {
  std::ifstream in(log, std::ios::binary | std::ios::ate);
  const std::streamoff size = in.is_open() ? std::streamoff(in.tellg()) : 0;
  in.seekg(std::max<std::streamoff>(0, size - kTail));
  std::string last, complaint;
  for (std::string line; std::getline(in, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    last = line;
    if (line.find("sluice: ") != std::string::npos || line.find("rror") != std::string::npos)
      complaint = line;
  }
  return complaint.empty() ? last : complaint;
}

struct Findings {
  std::vector<std::pair<std::string, std::string>> logs;  // name, last words
  std::vector<std::string> laws, problems;
  std::string next;
  bool ill = false;
};

void read_logs(const RunView& view, Findings& found) {
  std::error_code ignored;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(view.run().root() / "logs", ignored)) {
    const std::string name = entry.path().filename();
    if (!name.starts_with("redis")) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  for (const auto& file : files) {
    const auto words = last_words(file);
    if (words.find("sluice: ") != std::string::npos || words.find("rror") != std::string::npos)
      found.logs.emplace_back("logs/" + file.filename().string(), words);
  }
}

// A run that goes on counts while it is read.
void read_law(const RunView& view, Findings& found) {
  try {
    for (const auto& stage : recipes::audit(view.run())) {
      found.laws.push_back(stage.stage + ": " + describe(stage.law));
      const bool alive = view.state() == RunState::Running;
      if (alive) continue;
      for (const auto& problem : stage.problems) found.problems.push_back(stage.stage + ": " + problem);
    }
  } catch (const Error& error) {
    found.problems.emplace_back(error.what());
  }
}

std::string next_command(const RunView& view) {
  const std::string root = view.run().root().string();
  const std::string resume = view.record() ? view.record()->resume : "sluice run RECIPE --resume";
  switch (view.state()) {
    case RunState::Starting:
    case RunState::Running:
      return "sluice top " + root;
    case RunState::Finished:
      return "sluice rollouts " + root;
    case RunState::Stopped:
    case RunState::Killed:
    case RunState::Failed:
      return resume;
  }
  return "";
}

Findings examine(const RunView& view) {
  Findings found;
  read_logs(view, found);
  read_law(view, found);
  found.next = next_command(view);
  const bool fell = view.state() == RunState::Failed || view.state() == RunState::Killed;
  found.ill = fell || !view.past_alarms().empty() || !found.problems.empty();
  return found;
}

std::string how_it_ended(const RunView& view) {
  std::string text(state_name(view.state()));
  if (view.record() && view.record()->code) text += ", exit code " + std::to_string(*view.record()->code);
  if (view.state() == RunState::Killed)
    text += ": no process of it is left, and none said why (kill -9, no memory, no power)";
  if (const auto* step = view.newest()) {
    text += ", after step " + std::to_string(step->stage_step) + " of " + std::to_string(step->stage_steps) +
            " of " + step->stage;
  } else {
    text += ", before its first step";
  }
  return text;
}

void print_row(std::string label, const std::string& text) {
  label.resize(kLabel, ' ');
  const size_t room = std::max<size_t>(terminal_size(1).columns, 60) - kLabel - 2;
  bool first = true;
  for (const auto& line : wrapped(glyphs(text), room, SIZE_MAX)) {
    std::cout << "  " << (first ? label : std::string(kLabel, ' ')) << line << '\n';
    first = false;
  }
}

void print(const RunView& view, const Findings& found) {
  std::cout << inert(view.run().root().string()) << ": " << inert(how_it_ended(view)) << '\n';
  if (view.record() && !view.record()->cause.empty()) print_row("cause", view.record()->cause);
  const bool fell = view.state() == RunState::Failed || view.state() == RunState::Killed;
  for (const auto& role : view.roles()) {
    if (view.state() == RunState::Killed) print_row(role.name, "was at: " + role.doing);
  }
  for (const auto& [log, words] : found.logs) {
    if (fell) print_row("log", log + ": " + words);
  }
  for (const auto& past : view.past_alarms()) {
    print_row("alarm", past.alarm.rule + ", steps " + std::to_string(past.alarm.since_step) + " to " +
                           std::to_string(past.until_step) + ": " + past.alarm.sentence);
    print_row("helps", past.alarm.suggestion);
  }
  for (const auto& law : found.laws) print_row("law", law);
  for (const auto& problem : found.problems) print_row("PROBLEM", problem);
  if (!found.ill)
    print_row("healthy", "no alarm in " + std::to_string(view.steps().size()) +
                             " steps, and every group is accounted for");
  print_row("next", found.next);
}

}  // namespace

int examine_run(const std::string& root, bool json) {
  const RunView view{recipes::RunDirectory(root)};
  const auto found = examine(view);
  if (json) {
    Json report = to_json(view);
    report["ill"] = found.ill;
    report["law"] = found.laws;
    report["problems"] = found.problems;
    report["logs"] = Json::object();
    for (const auto& [log, words] : found.logs) report["logs"][log] = words;
    report["next"] = found.next;
    std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << '\n';
  } else {
    print(view, found);
  }
  return found.ill ? 1 : 0;
}

}  // namespace sluice::app
