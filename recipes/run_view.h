// A run as its directory shows it, alive or not: what the page, `sluice top` and `sluice doctor RUN` look at.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "monitor/run_history.h"
#include "monitor/run_status.h"
#include "recipes/run_directory.h"
#include "recipes/run_record.h"

namespace sluice::recipes {

enum class RunState { Starting, Running, Finished, Stopped, Failed, Killed };
std::string_view state_name(RunState state);

// A process of the run and what it does, or did when the run ended.
struct RoleView {
  std::string name;  // "actor-0"
  std::string doing;
};

// For one thread.
class RunView {
 public:
  explicit RunView(RunDirectory run);

  // Looks again at everything; returns whether metrics.jsonl has changed.
  bool refresh();
  // The same of what changes within a step: metrics.jsonl and state.json.
  bool refresh_steps();

  const RunDirectory& run() const { return run_; }
  const Recipe& recipe() const { return recipe_; }
  const std::string& name() const { return recipe_.name; }
  RunState state() const { return state_; }
  bool is_alive() const { return state_ == RunState::Starting || state_ == RunState::Running; }
  const std::optional<RunRecord>& record() const { return record_; }
  // Its last step, and what stands in state.json.
  const monitor::RunStatus& status() const;
  // What stands there as it stands there, for who only hands it on: of a thousand actors it is a hundred
  // kilobytes. Its number rises with each that is read.
  const std::string& live_text() const { return live_text_; }
  int64_t live_number() const { return live_number_; }
  // Learners first.
  const std::vector<RoleView>& roles() const { return roles_; }

  const monitor::RunHistory& history() const { return history_; }
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

  const RunDirectory run_;
  const Recipe recipe_;
  monitor::RunHistory history_;
  mutable monitor::RunStatus status_;
  std::array<int64_t, 4> state_stamp_{};  // of the state.json that was read
  std::string live_text_;
  int64_t live_number_ = 0;
  mutable int64_t taken_apart_ = 0;  // the one that status_ has
  std::optional<RunRecord> record_;
  RunState state_ = RunState::Starting;
  std::vector<RoleView> roles_;
};

// The part of it that changes within a step.
Json live_json(const monitor::RunStatus& status);
// What `sluice top --json` prints, and with the text of the live part in its place /api/status.
Json to_json(const RunView& view);
Json without_live(const RunView& view);

}  // namespace sluice::recipes
