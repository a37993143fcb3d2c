#include "app/run_view.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "base/file_lock.h"
#include "base/pulse.h"

namespace sluice::app {
namespace {

namespace fs = std::filesystem;
using monitor::StepReport;

constexpr size_t kRecentSteps = 20;

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
  std::ranges::sort(roles, [](const RoleView& a, const RoleView& b) {
    return a.name.size() != b.name.size() ? a.name.size() < b.name.size() : a.name < b.name;
  });
  return roles;
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

RunView::RunView(const fs::path& root) : run_(root), recipe_(run_.recipe()), history_(run_.metrics()) {
  refresh();
}

void RunView::refresh() {
  history_.refresh();
  record_ = read_run_record(run_.root());
  state_ = look_at_state();
  roles_ = read_roles(run_.root() / "pulse");
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
  const double sum = std::accumulate(times.begin(), times.end(), 0.0);
  return sum / static_cast<double>(times.size()) *
         static_cast<double>(newest()->stage_steps - newest()->stage_step);
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

Json to_json(const RunView& view) {
  Json json = {
      {"run", view.run().root().string()}, {"name", view.name()}, {"state", state_name(view.state())}};
  if (view.record() && view.record()->code) {
    json["exit_code"] = *view.record()->code;
    json["cause"] = view.record()->cause;
  }
  if (const auto* step = view.newest()) {
    json["stage"] = step->stage;
    json["step"] = step->step;
    json["stage_step"] = step->stage_step;
    json["stage_steps"] = step->stage_steps;
    json["metrics"] = step->metrics;
  }
  const auto left = view.seconds_left();
  json["seconds_left"] = left ? Json(*left) : Json();
  json["time"] = Json::object();
  for (const auto& [part, share] : view.time_shares()) json["time"][part] = share;
  json["roles"] = Json::array();
  for (const auto& role : view.roles()) json["roles"].push_back({{"name", role.name}, {"doing", role.doing}});
  json["alarms"] = Json::array();
  for (const auto& alarm : view.alarms()) {
    json["alarms"].push_back({{"rule", alarm.rule},
                              {"sentence", alarm.sentence},
                              {"suggestion", alarm.suggestion},
                              {"since_step", alarm.since_step}});
  }
  return json;
}

}  // namespace sluice::app
