// One run on disk: what it was asked, how far it is, and what it made.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/file_lock.h"
#include "recipes/recipe.h"

namespace sluice::recipes {

// Paths of a run directory, and its identity. Opening needs no lock; the supervisor holds one (RunLock).
class RunDirectory {
 public:
  // Opens what create_run() made. Throws DataError when `root` is no run directory.
  explicit RunDirectory(const std::filesystem::path& root);

  const std::filesystem::path& root() const { return root_; }
  const std::string& id() const { return id_; }  // unique to this directory
  // Where data comes from a stage, its path is that of samples().
  Recipe recipe() const;

  std::filesystem::path checkpoints() const { return root_ / "checkpoints"; }
  std::filesystem::path journal(const std::string& stage) const {
    return root_ / "journal" / (stage + ".log");
  }
  // What an actor of a stage has finished and the learner may not have yet.
  std::filesystem::path spool(const std::string& stage, int64_t actor) const {
    return root_ / "spool" / stage / ("actor-" + std::to_string(actor) + ".log");
  }
  // What a stage of rejection sampling keeps.
  std::filesystem::path samples(const std::string& stage) const {
    return root_ / "samples" / (stage + ".jsonl");
  }
  std::filesystem::path quarantine() const { return root_ / "quarantine"; }
  std::filesystem::path environment() const { return root_ / "environment.json"; }
  std::filesystem::path metrics() const { return root_ / "metrics.jsonl"; }
  // How things stand between two steps, {"wall_time", "state": {...}, "actors": {NAME: {...}}} with the
  // fields that Redis shows; whole at any time, and of no use to a resumed run.
  std::filesystem::path state() const { return root_ / "state.json"; }
  std::filesystem::path summary() const { return root_ / "summary.json"; }
  std::filesystem::path report() const { return root_ / "report.html"; }
  std::filesystem::path rollouts(int64_t step) const;
  std::filesystem::path log(const std::string& role, int64_t index) const;
  // What a process of the run is doing, or was when it ended: base/pulse.h.
  std::filesystem::path pulse(const std::string& role, int64_t index) const {
    return root_ / "pulse" / (role + "-" + std::to_string(index));
  }
  // Where the ranks of a stage find each other; removed before they are started.
  std::filesystem::path meeting() const { return root_ / "pulse" / "meeting"; }
  std::filesystem::path redis_socket() const { return root_ / "redis.sock"; }
  // Where actors find the learner: the recipe's address, else an ipc socket in here (or a short one, see
  // base/socket_path.h).
  std::string rollout_address(const StageSpec& stage) const;

  // What a finished stage left: {"name", "use", "steps", "seconds", ...}; empty when it has not finished.
  std::optional<Json> stage_result(const std::string& stage) const;
  void write_stage_result(const std::string& stage, const Json& result) const;
  // The first stage of the recipe without a result.
  std::optional<std::string> next_stage(const Recipe& recipe) const;

 private:
  const std::filesystem::path root_;
  std::string id_;
};

struct OpenedRun {
  RunDirectory directory;
  FileLock lock;  // held until every process of the run is gone
  bool resumed = false;
};

// Makes `runs`/NAME for a recipe, or opens it again when `resume` is set; a directory that was only half made
// counts as new. Throws UsageError for a used name without `resume` and for a recipe that differs from the
// run's, EnvironmentError when another process holds it for more than ten seconds.
OpenedRun open_run(const std::filesystem::path& runs, const Recipe& recipe, bool resume);

}  // namespace sluice::recipes
