// The commands that a run was sent: which are new, which are being done, what is still to be answered.
//
// A command lies in its stream until its answer has arrived, and the answer has its id, so that the server
// refuses a second one: whatever breaks between two messages, the next look puts it right. Not for use from
// several threads at once.
#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "monitor/internal/redis_client.h"
#include "monitor/internal/run_picture.h"
#include "monitor/redis_monitor.h"

namespace sluice::monitor::internal {

inline constexpr size_t kRepliesKept = 1000;

class CommandQueue {
 public:
  // `prefix` of the keys. Behind `last_seen`; empty where no process of the run has looked: then what the
  // first look finds was sent to somebody else.
  CommandQueue(std::string prefix, std::optional<StreamId> last_seen)
      : prefix_(std::move(prefix)), last_seen_(last_seen) {}

  // What is to be sent: answers, what has its answer and goes, and the question for more. No transaction.
  std::vector<RedisCommand> look() const;
  // What came back for it. Returns "" or what the server refuses; it is tried again.
  std::string looked(const std::vector<RedisReply>& replies);

  std::vector<RunCommand> take();  // those that have come since, in order
  std::optional<StreamId> last_seen() const { return last_seen_; }
  void answer(const RunCommand& command, const std::string& result, const std::string& text);
  bool has_answers() const { return !answers_.empty(); }

 private:
  struct Answer {
    StreamId id;
    RedisCommand command;
  };
  void meet(const RedisReply& entry, bool listened);

  const std::string prefix_;
  std::optional<StreamId> last_seen_;
  std::vector<RunCommand> arrived_;
  std::set<StreamId> open_;         // met, and in the stream as far as is known
  std::deque<Answer> answers_;      // to be said
  std::vector<StreamId> answered_;  // said, to be removed
};

}  // namespace sluice::monitor::internal
