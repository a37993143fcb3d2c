// The binary as a person has it: a folder with a recipe, a process, what it wrote, and what it started.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/subprocess.h"
#include "tests/base/temp_folder.h"

namespace sluice::app {

constexpr Millis kLongMs = 60'000;  // reached only when something is broken

// A process that is not ours to wait for, held by a descriptor so that its number cannot become another's.
class Stranger {
 public:
  Stranger(pid_t pid, std::vector<std::string> command);
  Stranger(Stranger&& other) noexcept;
  ~Stranger();

  const std::vector<std::string>& command() const { return command_; }
  bool runs(const std::string& word) const;  // its command has the word; a server may add to its own name
  bool gone(Millis timeout_ms) const;
  void signal(int number) const;

 private:
  int pidfd_;
  const std::vector<std::string> command_;
};

// A folder with a small recipe, `recipe.toml`: characters of Shakespeare, `sft` for 6 steps, `grpo` for 20
// with two actors, a checkpoint every 5 steps. A run of it is a few seconds.
class Workspace {
 public:
  Workspace();

  std::filesystem::path operator/(const std::string& name) const { return root_ / name; }
  std::filesystem::path run(const std::string& name = "tiny") const { return root_ / "runs" / name; }
  // Processes that work in the folder, as all of a run do.
  std::vector<Stranger> processes() const;
  // Lines of metrics.jsonl that are whole.
  std::vector<Json> metrics(const std::string& name = "tiny") const;

 private:
  TempFolder folder_;
  const std::filesystem::path root_ = std::filesystem::canonical(folder_.path());  // as messages write it
};

// The files of another workspace's run in one of its own, to break something in.
class RunCopy {
 public:
  explicit RunCopy(const Workspace& original);

  std::filesystem::path operator/(const std::string& name) const { return workspace_.run() / name; }

 protected:
  const Workspace workspace_;
};

// Every file of a folder with its bytes, for "nothing was overwritten".
std::map<std::string, std::string> contents(const std::filesystem::path& folder);

class Sluice {
 public:
  // Starts `sluice ARGUMENTS` in the workspace; its output goes to files there.
  Sluice(const Workspace& workspace, std::vector<std::string> arguments,
         std::map<std::string, std::string> environment = {});
  ~Sluice();
  Sluice(const Sluice&) = delete;

  Subprocess& process() { return *process_; }
  std::string out() const;
  std::string err() const;

  // Waits until the condition holds, asked whenever the process has written something. False when it has
  // ended or a minute has passed before that.
  bool wait_until(const std::function<bool()>& condition);
  // Waits until step `stage_step` of the stage, or a later one, is in metrics.jsonl.
  bool wait_for_step(const std::string& stage, int64_t stage_step, const std::string& run = "tiny");
  // The exit status, as a shell would say it; -1 when it does not end.
  int exit_code(Millis timeout_ms = kLongMs);

  // All processes that came of this one.
  std::vector<Stranger> descendants() const;

 private:
  const Workspace& workspace_;
  const std::filesystem::path out_, err_;
  int watch_ = -1;
  std::optional<Subprocess> process_;
};

// Starts it, waits for its end and returns its exit status and output.
struct Finished {
  int code = -1;
  std::string out, err;
};
Finished sluice(const Workspace& workspace, std::vector<std::string> arguments,
                std::map<std::string, std::string> environment = {});

// Starts it and sends it the signal when step `stage_step` of the stage is reported; expects it to end by
// that.
void sluice_until(const Workspace& workspace, const std::vector<std::string>& arguments,
                  const std::string& stage, int64_t stage_step, int signal, const std::string& run = "tiny");

// issued = trained + queued + leased + dropped + quarantined, of an object that has them as PREFIXissued ...
bool law_closes(const Json& counts, const std::string& prefix);

// All the time of the stage is in some step, and all of a step in some part of it; each step has these parts.
void expect_steps_sum_to_the_time(const Workspace& workspace, const std::string& stage,
                                  const std::vector<std::string>& parts);

// Of the events of trace.json, by the name of their process.
std::map<std::string, std::multiset<std::string>> traced_by_process(const Workspace& workspace);

}  // namespace sluice::app
