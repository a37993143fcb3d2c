#include "recipes/run_view.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <tuple>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "base/file_lock.h"
#include "base/files.h"
#include "base/pulse.h"
#include "monitor/live_line.h"

namespace sluice::recipes {
namespace {

namespace fs = std::filesystem;

constexpr size_t kRecentSteps = 20;
constexpr std::string_view kLearner = "learner";

// Whether a process of the run is alive: they all hold its lock.
bool is_held(const fs::path& lock) {
  if (!fs::exists(lock)) return false;
  try {
    return !FileLock::acquire(lock, 0).has_value();
  } catch (const Error&) {  // a directory that may only be read
    return false;
  }
}

std::vector<RoleView> read_roles(const fs::path& folder) {
  std::vector<RoleView> roles;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const auto pulse = entry.is_regular_file() ? read_pulse(entry.path()) : std::nullopt;
    if (pulse) roles.push_back({entry.path().filename().string(), pulse->doing});
  }
  const auto place = [](const RoleView& role) {
    return std::tuple(!role.name.starts_with(kLearner), role.name.size(), role.name);
  };
  std::ranges::sort(roles, [&](const RoleView& a, const RoleView& b) { return place(a) < place(b); });
  return roles;
}

// Another one whenever a file was replaced; 0 where there is none.
std::array<int64_t, 4> stamp_of(const fs::path& file) {
  struct stat entry {};
  if (::stat(file.c_str(), &entry) != 0) return {};
  return {static_cast<int64_t>(entry.st_ino), entry.st_size, entry.st_mtim.tv_sec, entry.st_mtim.tv_nsec};
}

// What is in state.json, on one line. Whatever is wrong with a file that another process writes, there is
// nothing to see just now.
std::string text_of_state(const fs::path& file) {
  try {
    std::string text = fs::exists(file) ? read_file(file, JsonLimits().max_bytes) : "";
    std::erase(text, '\n');
    if (text.starts_with('{') && Json::accept(text)) return text;
  } catch (const DataError&) {
  }
  return live_json({}).dump();
}

void take_apart(const std::string& text, monitor::RunStatus& status) {
  status.state_time = 0;
  status.state.clear();
  status.actors.clear();
  try {
    const Json live = parse_json(text, "state.json");
    status.state = live.at("state").get<std::map<std::string, std::string>>();
    for (const auto& [name, fields] : live.at("actors").items())
      status.actors[name] = fields.get<std::map<std::string, std::string>>();
    status.state_time = live.at("wall_time");
  } catch (const DataError&) {
  } catch (const Json::exception&) {
  }
}

}  // namespace

std::string_view state_name(RunState state) {
  switch (state) {
    case RunState::Starting:
      return "starting";
    case RunState::Running:
      return "running";
    case RunState::Finished:
      return "finished";
    case RunState::Stopped:
      return "stopped";
    case RunState::Failed:
      return "failed";
    case RunState::Killed:
      return "killed";
  }
  return "";
}

RunView::RunView(RunDirectory run) : run_(std::move(run)), recipe_(run_.recipe()), history_(run_.metrics()) {
  status_.name = name();
  status_.id = run_.id();
  refresh();
}

bool RunView::refresh() {
  const bool changed = refresh_steps();
  record_ = read_run_record(run_.root());
  state_ = look_at_state();
  roles_ = read_roles(run_.root() / "pulse");
  return changed;
}

bool RunView::refresh_steps() {
  const bool changed = history_.refresh();
  if (newest() != nullptr) status_.last = *newest();
  if (const auto stamp = stamp_of(run_.state()); stamp != state_stamp_ || live_text_.empty()) {
    state_stamp_ = stamp;
    live_text_ = text_of_state(run_.state());
    ++live_number_;
  }
  return changed;
}

const monitor::RunStatus& RunView::status() const {
  if (std::exchange(taken_apart_, live_number_) != live_number_) take_apart(live_text_, status_);
  return status_;
}

RunState RunView::look_at_state() const {
  if (is_held(run_.root() / "lock")) return steps().empty() ? RunState::Starting : RunState::Running;
  if (fs::exists(run_.summary())) return RunState::Finished;
  if (!record_ || !record_->code) return RunState::Killed;
  return *record_->code > 128 ? RunState::Stopped : RunState::Failed;
}

std::vector<monitor::Alarm> RunView::alarms() const {
  return newest() == nullptr ? std::vector<monitor::Alarm>() : newest()->alarms;
}

std::vector<double> RunView::values(const std::string& metric, size_t count) const {
  std::vector<double> values;
  for (auto step = steps().rbegin(); step != steps().rend() && values.size() < count; ++step) {
    if (step->stage != newest()->stage) break;
    const auto found = step->metrics.find(metric);
    if (found != step->metrics.end()) values.push_back(found->second);
  }
  std::ranges::reverse(values);
  return values;
}

std::optional<double> RunView::seconds_left() const {
  const auto times = values("step_time", kRecentSteps);
  if (times.size() < 3) return std::nullopt;
  return monitor::seconds_left(*newest(), times);
}

std::vector<std::pair<std::string, double>> RunView::time_shares() const {
  std::vector<std::pair<std::string, double>> shares;
  if (newest() == nullptr) return shares;
  double sum = 0;
  for (const auto& [name, value] : newest()->metrics) {
    if (!name.starts_with("time/")) continue;
    const auto times = values(name, kRecentSteps);
    shares.emplace_back(name.substr(5), std::accumulate(times.begin(), times.end(), 0.0));
    sum += shares.back().second;
  }
  for (auto& share : shares) share.second /= std::max(sum, 1e-9);
  std::ranges::sort(shares, [](const auto& a, const auto& b) { return a.second > b.second; });
  return shares;
}

Json live_json(const monitor::RunStatus& status) {
  return {{"wall_time", status.state_time}, {"state", status.state}, {"actors", status.actors}};
}

Json to_json(const RunView& view) {
  Json json = without_live(view);
  json["live"] = live_json(view.status());
  return json;
}

Json without_live(const RunView& view) {
  const auto left = view.seconds_left();
  Json json = {{"schema", 1},
               {"run", view.name()},
               {"id", view.run().id()},
               {"root", view.run().root().string()},
               {"state", state_name(view.state())},
               {"now", wall_seconds()},
               {"generation", view.history().generation()},
               {"last", view.newest() != nullptr ? monitor::to_json(*view.newest()) : Json()},
               {"seconds_left", left ? Json(*left) : Json()},
               {"time", Json::object()},
               {"doing", Json::object()},
               {"stages", Json::array()},
               {"alarms", Json::array()},
               {"results", Json::array()}};
  if (const auto& record = view.record()) {
    json["resume"] = record->resume;
    if (record->code) {
      json["exit_code"] = *record->code;
      json["cause"] = record->cause;
    }
  }
  for (const auto& [part, share] : view.time_shares()) json["time"][part] = share;
  for (const auto& role : view.roles()) json["doing"][role.name] = role.doing;
  for (const auto& stage : view.recipe().stages) {
    const auto result = view.run().stage_result(stage.name);
    json["stages"].push_back(
        {{"name", stage.name}, {"use", stage.use}, {"steps", stage.steps}, {"done", result.has_value()}});
    if (result) json["results"].push_back(*result);
  }
  for (const auto& past : view.past_alarms()) {
    Json alarm = monitor::to_json(past.alarm);
    alarm["until"] = past.until_step;
    alarm["stands"] = view.newest() != nullptr && past.until_step == view.newest()->step;
    json["alarms"].push_back(std::move(alarm));
  }
  return json;
}

}  // namespace sluice::recipes
