#include "recipes/internal/retention.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/nearest.h"

namespace sluice::recipes::internal {
namespace {

namespace fs = std::filesystem;

// Those of one stage that can be read, newest first.
std::vector<Checkpoint> checkpoints_of(const fs::path& checkpoints, const std::string& stage) {
  std::vector<Checkpoint> found;
  for (const auto& directory : checkpoints_in(checkpoints)) {
    try {
      auto checkpoint = open_checkpoint(directory);
      if (checkpoint.state.stage == stage) found.push_back(std::move(checkpoint));
    } catch (const DataError&) {
      continue;
    }
  }
  return found;
}

// At once gone under its name: what a crash leaves of it is a temporary, and no damaged checkpoint.
void remove_whole(const fs::path& directory) {
  const fs::path aside = directory.parent_path() / (".tmp-" + directory.filename().string());
  fs::remove_all(aside);
  fs::rename(directory, aside);
  fs::remove_all(aside);
}

// Of two that are equally good the newer one.
const Checkpoint* best_of(const std::vector<Checkpoint>& found, const CheckpointSpec& keep) {
  const Checkpoint* best = nullptr;
  for (const auto& checkpoint : found) {
    const auto& score = checkpoint.state.score;
    if (!score) continue;
    const bool better =
        best == nullptr || (keep.lowest ? *score < *best->state.score : *score > *best->state.score);
    if (better) best = &checkpoint;
  }
  return best;
}

}  // namespace

void Score::add(const learner::StepMetrics& metrics) {
  if (metric_.empty()) return;
  for (const auto& [name, value] : metrics) seen_.insert(name);
  const auto found = metrics.find(metric_);
  if (found == metrics.end()) return;
  sum_ += found->second;
  ++count_;
}

std::optional<double> Score::take() {
  const auto count = std::exchange(count_, 0);
  const auto sum = std::exchange(sum_, 0.0);
  if (count == 0) return std::nullopt;
  return sum / static_cast<double>(count);
}

std::string Score::problem() const {
  if (metric_.empty() || seen_.contains(metric_)) return {};
  return "checkpoint.best_by: no step has had the metric " + metric_ + did_you_mean(metric_, seen_);
}

void retain(const fs::path& checkpoints, const CheckpointState& written, const CheckpointSpec& keep) {
  auto found = checkpoints_of(checkpoints, written.stage);
  std::erase_if(found, [&](const auto& checkpoint) { return checkpoint.state.step > written.step; });
  const Checkpoint* best = best_of(found, keep);
  if (best != nullptr) point_at(checkpoints / "best", best->directory);
  int64_t between = 0;  // not the end of the stage, which is always kept
  for (const auto& checkpoint : found) {
    const auto& state = checkpoint.state;
    if (state.stage_done || ++between <= keep.keep_last || &checkpoint == best) continue;
    if (keep.keep_every > 0 && state.stage_step % keep.keep_every == 0) continue;
    remove_whole(checkpoint.directory);
  }
}

int64_t step_of_newest(const fs::path& checkpoints, const std::string& stage, int64_t count) {
  const auto found = checkpoints_of(checkpoints, stage);
  if (std::ssize(found) < count) return 0;
  return found[static_cast<size_t>(count - 1)].state.stage_step;
}

}  // namespace sluice::recipes::internal
