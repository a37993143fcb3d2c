// What a run is told through Redis where the recipe has monitor.control: pause, resume, checkpoint, stop.
//
// A command is done between two steps. It is written down as taken before it is done, so that nobody does it
// again, and it is answered: docs/monitoring.md. What is learned does not depend on it.
#pragma once

#include <cstdint>
#include <deque>
#include <string>

#include "recipes/internal/stage_monitor.h"
#include "recipes/run_directory.h"
#include "recipes/stages.h"

namespace sluice::recipes {

class RunControl {
 public:
  // All of them outlive it.
  RunControl(const RunDirectory& run, const std::string& stage, StageMonitor& monitor,
             const StopRequest& stop);

  enum class Next : uint8_t {
    GoOn,
    Wait,  // it is paused: a little, and ask again
    Save,  // a checkpoint, and call saved()
    Stop,
  };
  // `done` steps of the stage are behind. On any rank but the first there is nothing but a signal.
  Next next(int64_t done);
  void saved();

  bool paused() const { return paused_; }
  // What the process is to end with: the signal that it was sent, or SIGTERM where a command told it to stop.
  // 0 while it goes on.
  int signal() const;

 private:
  void take_up();
  void obey(const monitor::RunCommand& command, int64_t done);
  void answer(const monitor::RunCommand& command, const std::string& result, const std::string& text);

  const RunDirectory& run_;
  const std::string stage_;
  StageMonitor& monitor_;
  const StopRequest& stop_;
  std::string taken_;  // as it is written down
  std::deque<monitor::RunCommand> waiting_;
  bool paused_ = false;
  bool told_to_stop_ = false;
};

// The id of the last command that a process of the run took; "" where none has looked.
std::string last_command_taken(const RunDirectory& run);

}  // namespace sluice::recipes
