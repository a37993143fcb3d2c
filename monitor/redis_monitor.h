// The run in Redis, for people to look at: never the queue of record, and never waited for.
//
// Keys as in docs/architecture.md. What the run is now is kept in memory and its changes are handed to one
// thread that owns the connection; it reconnects with back-off, and after a server was away or lost the keys
// it writes the whole picture again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "monitor/step_report.h"

namespace sluice::monitor {

// What the state hash shows.
struct RunState {
  std::map<std::string, std::string> fields;  // stage, step, version, queue_depth, credits, age_s, ...
};

// One queued group, in batching order, as it enters the rollouts stream.
struct QueuedRollout {
  uint64_t group = 0;
  std::map<std::string, std::string> fields;  // group, step, version, actor, reward, tokens: never the texts
};

// What somebody wrote to the commands stream: its id, and its field `do`.
struct RunCommand {
  std::string id, text;
};

struct ActorState {
  std::string name;
  std::map<std::string, std::string> fields;
};

// Where Redis is.
struct RedisAddress {
  std::string unix_socket;  // used when set
  std::string host;
  int port = 6379;
  std::string username, password;
  int database = 0;
};
// "redis://[user:password@]host[:port][/db]" or "unix://[user:password@]/path". Throws UsageError naming what
// is wrong with it.
RedisAddress parse_redis_url(const std::string& url);
// The URL as it is shown: with *** for user and password.
std::string without_password(const std::string& url);

// Safe from any thread; no call waits for the server.
class RedisMonitor final : public MetricSink {
 public:
  // Returns at once; a server that is not there is reported once through take_problem() and tried again. What
  // an earlier run of this name left in the state and rollouts keys is replaced.
  RedisMonitor(const RedisAddress& address, const std::string& run);
  // Sends what is waiting, for at most half a second.
  ~RedisMonitor() override;

  void write(const StepReport& report) override;  // the metrics stream, trimmed
  void state(RunState state);
  // With a time to live: their heartbeat, to be told again before that is over.
  void actors(std::vector<ActorState> actors);
  void event(const std::string& text);  // pub/sub; nobody hears it while the server is away
  // The rollouts stream and its group `learner`: entries live from journal to fate.
  void queued(std::vector<QueuedRollout> groups);     // XADD
  void batched(const std::vector<uint64_t>& groups);  // XREADGROUP, XGROUP SETID: pending from now on
  void ended(const std::vector<uint64_t>& groups);    // XACK and XDEL

  // From now on the commands stream is read, behind the command that a process of this run took last; "" for
  // a run that has taken none: what is there before it looks was not sent to it.
  void listen(const std::string& last_taken);
  // Those that came since the last call, in order, each once. Whoever takes one keeps last_taken() before he
  // does it, and answers it after: a command that was taken and never answered is refused by the next
  // process.
  std::vector<RunCommand> take_commands();
  std::string last_taken() const;  // "" before the server was asked
  // The entry of the replies stream that has the command's id.
  void answer(const RunCommand& command, const std::string& result, const std::string& text);

  // A sentence when something changed since the last call: "Redis at ... is gone (...); the run goes on
  // without it", "Redis at ... is back". "" else.
  std::string take_problem();
  bool connected() const;
  int64_t num_dropped() const;  // commands let go because the queue to the thread was full

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
  std::jthread thread_;  // last, so that it stops before what it uses is destroyed
};

}  // namespace sluice::monitor
