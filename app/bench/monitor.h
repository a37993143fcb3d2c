// What the monitor takes of a core while many actors are heard of and people look.
#pragma once

#include <cstdint>

#include "app/bench/report.h"

namespace sluice::app {

struct MonitorBench {
  int64_t actors = 1000;
  int64_t rate = 10;      // times a second that each is heard of, and steps a second
  int64_t seconds = 120;  // of it: more steps than the metrics stream keeps
};

// As the learner of a run does, tells of every actor, the state and a step `rate` times a second: to Redis (a
// redis-server of its own), metrics.jsonl and state.json, while the page of that run has a follower and
// somebody who asks. Throws EnvironmentError without a redis-server.
void bench_monitor(const MonitorBench& options, Report& report);

}  // namespace sluice::app
