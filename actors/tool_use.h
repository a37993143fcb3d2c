// Lets completions use tools: a call is answered beside decoding, and what the tool says goes into the
// completion as tokens that the policy did not choose.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "actors/engine.h"
#include "base/clock.h"
#include "base/pulse.h"
#include "buffers/rollout_group.h"
#include "rewards/tools.h"
#include "text/tokenizer.h"
#include "text/tool_calls.h"

namespace sluice::actors {

struct ToolUseOptions {
  // That of conversations; a prompt without its turn is plain text, and so is what a tool says behind it.
  text::ObservationForm form = text::observation_form(nullptr);
  int64_t max_calls = 8;                 // of a completion; one more is told so
  int64_t max_observation_tokens = 256;  // of what a tool says; what is beyond is left out
  int threads = 4;                       // calls that run at once
};

// Hears of the engine's calls from now on, and is used by the thread that steps it; the three outlive it.
//
// A completion is the same whenever its calls are answered: an observation is tokenised once, the marks
// around it and what the tool says each by itself, so that a tool's text spells no special token.
class ToolUse {
 public:
  ToolUse(Engine& engine, const text::Tokenizer& tokenizer, const rewards::Toolbox& tools,
          const ToolUseOptions& options);
  // Interrupts the tools for good where calls are under way, which end soon then; begins no other.
  ~ToolUse();

  // Between two steps: gives completions what their calls came to meanwhile. Waits up to `wait_ms` where the
  // engine has nothing else to do. Throws what went wrong beside.
  void pass_on(Millis wait_ms);
  // What came of the calls of a request that has ended.
  buffers::ToolWatch take_watch(uint64_t id);
  // What the tools do.
  Pulse pulse() const { return pulse_.now(); }

 private:
  struct Call {
    uint64_t id = 0;
    int64_t sample = 0;
    std::string text;
    bool one_too_many = false;
    bool in_conversation = false;
  };
  struct Marks {
    std::vector<int32_t> before, after;
  };
  struct Answered {
    Call call;
    rewards::ToolAnswer answer;
    double seconds = 0;
  };
  struct Request {
    std::map<int64_t, int64_t> calls;  // of each sample that has made any
    buffers::ToolWatch watch;
  };

  void add(const GenerationRequest& request, int64_t sample, std::string text);
  Marks marks_of(const text::ObservationForm& form) const;
  void run(const std::stop_token& stop);
  rewards::ToolAnswer answer(const Call& call) const;
  std::vector<int32_t> observation(const Call& call, const std::string& said) const;

  Engine& engine_;
  const text::Tokenizer& tokenizer_;
  const rewards::Toolbox& tools_;
  const ToolUseOptions options_;
  const Marks conversation_, plain_;
  std::map<uint64_t, Request> requests_;
  int64_t num_open_ = 0;  // calls whose answers were not passed on
  SidePulse pulse_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::deque<Call> calls_;             // guarded by mutex_
  std::vector<Answered> answered_;     // guarded by mutex_
  std::exception_ptr failure_;         // guarded by mutex_
  std::vector<std::jthread> threads_;  // last, so that they stop before anything they use is destroyed
};

}  // namespace sluice::actors
