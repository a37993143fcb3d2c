#include "recipes/internal/step_loop.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/pulse.h"
#include "recipes/internal/stage_ranks.h"

namespace sluice::recipes {
namespace {

constexpr int kIll = -1;  // in the place of a signal
constexpr int kWait = -2, kSave = -3;
constexpr auto kPaused = std::chrono::milliseconds(250);  // between looks at what the run is told

}  // namespace

StepLoop::StepLoop(const RunDirectory& run, const StageSpec& stage, const StageStart& start,
                   StageMonitor& monitor, optim::Optimizer& optimizer, const StopRequest& stop)
    : run_(run),
      stage_(stage),
      start_(start),
      monitor_(monitor),
      optimizer_(optimizer),
      ranks_(optimizer.collective()),
      stop_(stop),
      control_(run, stage.name, monitor, stop),
      watch_(monitor, optimizer, stage, start),
      score_(stage.checkpoint.best_by),
      checkpoint_(start.checkpoint),
      began_(clock_.now_ms()),
      num_tokens_(start.num_tokens),
      saved_(start.stage_step) {}

int StepLoop::run(const StepWork& work) {
  for (int64_t s = start_.stage_step; s < stage_.steps; ++s) {
    now_doing(stage_.name + " step " + std::to_string(s + 1) + ": learns");
    auto metrics = work.learn(s, step_clock_);
    watch_.after(s + 1, metrics);
    step_clock_.ends("train");
    if (ranks_.size() > 1) {
      metrics["ranks"] = static_cast<double>(ranks_.size());
      step_clock_.moves("train", "all_reduce_wait", optimizer_.take_sum_seconds());
    }
    if (work.measure && work.is_due(s + 1)) {
      now_doing(stage_.name + " step " + std::to_string(s + 1) + ": measures held-out examples");
      const auto whole = optimizer_.whole_weights();
      if (ranks_.rank() == 0) metrics.merge(work.measure(s + 1));
      ranks_.meet();
      step_clock_.ends("evaluate");
    }
    const double step_tokens = metrics["num_tokens"];
    metrics["num_tokens"] = num_tokens_ += step_tokens;
    step_clock_.report(s + 1, metrics);
    metrics["tokens_per_s"] = step_tokens / std::max(metrics["step_time"], 1e-3);
    score_.add(metrics);
    monitor_.report(start_.first_step() + s + 1, s + 1, std::move(metrics));
    monitor_.show_state(start_.first_step() + s + 1, s + 1);
    const int signal = told_to_stop(ranks_, [this] { return monitor_.is_ill() ? kIll : stop_(); });
    step_clock_.ends("report");
    const bool last = s + 1 == stage_.steps;
    if (last || (s + 1) % stage_.checkpoint.every == 0 || signal != 0) save(s + 1, work.contents());
    if (signal == kIll) monitor_.end_ill();
    if (last) return 0;
    const int told = signal != 0 ? signal : obey(s + 1, work);
    if (told != 0) return told;
  }
  return 0;
}

// What the run is told between two steps: 0 to go on, or the signal to end with when a checkpoint is written.
int StepLoop::obey(int64_t done, const StepWork& work) {
  using Next = RunControl::Next;
  while (true) {
    const int told = told_to_stop(ranks_, [&] {
      const auto next = control_.next(done);
      return next == Next::Wait ? kWait : next == Next::Save ? kSave : control_.signal();
    });
    step_clock_.ends("report");
    if (told == kWait) {
      pause(done);
      step_clock_.ends("paused");
      continue;
    }
    if (told != 0 && saved_ != done) save(done, work.contents());
    if (told != kSave) return told;
    if (ranks_.rank() == 0) control_.saved();
  }
}

// For a moment.
void StepLoop::pause(int64_t done) {
  now_doing(stage_.name + " step " + std::to_string(done + 1) + ": paused by a command until resume");
  if (ranks_.rank() != 0) return;
  monitor_.show_state(start_.first_step() + done, done, {{"paused", "yes"}});
  std::this_thread::sleep_for(kPaused);
}

double StepLoop::seconds() const {
  return start_.seconds + static_cast<double>(clock_.now_ms() - began_) / 1000.0;
}

void StepLoop::save(int64_t done, CheckpointContents contents) {
  if (const auto problem = score_.problem(); !problem.empty()) monitor_.say(problem);
  contents.memory = {{"guard", watch_.state()}};
  check_in_step(optimizer_, "after step " + std::to_string(done) + " of stage " + stage_.name);
  optimizer_.collect();
  const auto state = start_.state_after(stage_, done, seconds(), num_tokens_, score_.take());
  const auto whole = optimizer_.whole_weights();
  if (ranks_.rank() == 0)
    checkpoint_ = write_checkpoint(run_.checkpoints(), state, contents, stage_.checkpoint);
  ranks_.meet();
  saved_ = done;
  step_clock_.ends("save");
}

}  // namespace sluice::recipes
