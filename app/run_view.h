// A run as its directory shows it, alive or not: what `sluice top` and `sluice doctor RUN` look at.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "app/run_record.h"
#include "base/json.h"
#include "monitor/run_history.h"
#include "recipes/run_directory.h"

namespace sluice::app {

enum class RunState { Starting, Running, Finished, Stopped, Failed, Killed };
std::string_view state_name(RunState state);

// A process of the run and what it does, or did when it ended.
struct RoleView {
  std::string name;  // "actor-0"
  std::string doing;
};

class RunView {
 public:
  // Throws DataError when `root` is no run directory.
  explicit RunView(const std::filesystem::path& root);

  // Looks again.
  void refresh();

  const recipes::RunDirectory& run() const { return run_; }
  const recipes::Recipe& recipe() const { return recipe_; }
  const std::string& name() const { return recipe_.name; }
  RunState state() const { return state_; }
  const std::optional<RunRecord>& record() const { return record_; }
  const std::vector<RoleView>& roles() const { return roles_; }
  const std::vector<monitor::StepReport>& steps() const { return history_.steps(); }
  const monitor::StepReport* newest() const { return steps().empty() ? nullptr : &steps().back(); }
  // Those that stand, and all there were.
  std::vector<monitor::Alarm> alarms() const;
  const std::vector<monitor::PastAlarm>& past_alarms() const { return history_.alarms(); }

  // The last `count` values of the newest step's stage that are there.
  std::vector<double> values(const std::string& metric, size_t count) const;
  // Seconds until the stage ends, by its last steps; nothing before its third step.
  std::optional<double> seconds_left() const;
  // Which share of the last steps of the stage each part took, largest first: {"wait", 0.6}, ...
  std::vector<std::pair<std::string, double>> time_shares() const;

 private:
  RunState look_at_state() const;

  const recipes::RunDirectory run_;
  const recipes::Recipe recipe_;
  monitor::RunHistory history_;
  std::optional<RunRecord> record_;
  RunState state_ = RunState::Starting;
  std::vector<RoleView> roles_;
};

Json to_json(const RunView& view);

}  // namespace sluice::app
