// SIGUSR2 as a question: what is this process doing? It is answered on stderr.
#pragma once

#include <functional>
#include <string>
#include <thread>

#include "base/internal/posix.h"

namespace sluice {

// A part of the process that has something to say, for as long as this lives. `describe` is called from
// another thread.
class Describes {
 public:
  explicit Describes(std::function<std::string()> describe);
  ~Describes();
  Describes(const Describes&) = delete;
  Describes& operator=(const Describes&) = delete;

 private:
  std::function<std::string()> describe_;
};

// Answers with the pulse (base/pulse.h), then with what each part says; a part that is stuck keeps the rest
// from being heard, and no more. One per process, made before any other thread: it blocks the signal in all.
class StateDump {
 public:
  explicit StateDump(std::string who);  // "actor-1"
  ~StateDump();
  StateDump(const StateDump&) = delete;
  StateDump& operator=(const StateDump&) = delete;

 private:
  void run(std::stop_token stop) const;
  void answer() const;

  const std::string who_;
  internal::UniqueFd signals_, stop_;
  std::jthread thread_;  // last, so that it stops before anything it uses is destroyed
};

}  // namespace sluice
