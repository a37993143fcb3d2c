// One process of a reward: lines go in, lines come out, and whatever else it does ends with it.
//
// A worker has a process group of its own, which is killed as a whole: when it is late, when it writes what
// nobody asked for, when it becomes too many processes, when its first one ends, and with the object. So is
// what left the group for a session of its own, unless it has emptied its environment too. What it writes to
// stderr goes to this process's, up to a bound for each exchange. Several are asked at once:
//
//   first.ask(line, limits); second.ask(line, limits);
//   Worker::wait_for_all(workers, stop);  // then each has an answer or a failure
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/pipe.h"
#include "base/subprocess.h"
#include "rewards/sandbox.h"

namespace sluice::rewards::plugins {

inline constexpr int64_t kMaxProcesses = 512;  // that a worker may become

struct WorkerOptions {
  std::vector<std::string> command;
  std::map<std::string, std::string> environment;  // added to this process's
  std::filesystem::path folder;                    // where it runs
  int64_t memory_mb = 4096;                        // for each of its processes; 0: no limit
  SandboxPolicy sandbox = {.level = SandboxLevel::None};
};

class Worker {
 public:
  // Throws EnvironmentError when it cannot be started. Must be called from a thread that lives as long as the
  // process (base/subprocess.h).
  explicit Worker(const WorkerOptions& options);
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Begins an exchange: the line is written, unless it is empty, and one of at most `max_bytes` is awaited.
  void ask(std::string_view line, size_t max_bytes, Millis timeout_ms, std::string what);
  // Reads and writes until no exchange of these is under way, or until one of those under way is not any
  // more. All fail soon after `interrupted` has become true.
  static void wait_for_all(std::span<Worker* const> workers, const std::atomic<bool>& interrupted);
  static void wait_for_any(std::span<Worker* const> workers, const std::atomic<bool>& interrupted);
  bool busy() const { return busy_; }

  // Of the last exchange: the line without its end, or why there is none, "timeout: no reply within 300 ms".
  // After a failure the worker is of no more use.
  const std::string& answer() const { return answer_; }
  const std::string& failure() const { return failure_; }

  // Between two exchanges: why it cannot be asked again, "" when it can.
  std::string why_unusable();

 private:
  void kill_all();
  void fail(const std::string& kind, const std::string& what);
  void fail_by_its_end(const std::string& otherwise);
  void read();
  void read_log();
  void write();
  void check(Millis now_ms);
  static void wait(std::span<Worker* const> workers, const std::atomic<bool>& interrupted, size_t most_busy);

  const SandboxLevel level_;
  const std::string mark_;  // in the environment of all that it starts; "" where none can leave the group
  Pipe to_worker_;
  Pipe from_worker_;
  Pipe log_;
  std::optional<Subprocess> process_;  // behind the pipes, so that its group is gone before they are
  std::string outgoing_;               // of which `written_` bytes are away
  size_t written_ = 0;
  std::string incoming_;
  std::string what_;  // is awaited: "reply"
  std::string answer_;
  std::string failure_;
  std::string log_end_;   // the last of what it wrote to stderr
  size_t log_bytes_ = 0;  // of this exchange
  size_t max_bytes_ = 0;
  Millis timeout_ms_ = 0;
  Millis deadline_ms_ = 0;
  Millis counted_at_ms_ = 0;  // its processes
  bool busy_ = false;
};

}  // namespace sluice::rewards::plugins
